"""A file of llama2.c becomes a folder that others read."""

import json
from pathlib import Path

import pytest
import tokenizers

from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.models.export.sentencepiece_json import convert
from im_jax.models.loaded import Model
from tests.data import synthetic
from tests.export.asked import opened, read, written
from tests.models.llama2c_file import write_story

pytestmark = pytest.mark.usefixtures("compiled_quickly")


AWKWARD = (
    *("", " ", "  two", "a\n\nb\t", "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GRINNING FACE}\x00"),
    *("<s>Hi</s> there", "</s> x", "\u2581", "Once upon a time, there was"),
)


def same_tokens(folder: Path, tokenizer: Tokenizer) -> None:
    """The tokenizer.json of a folder makes a tokenizer's tokens, and its texts of them."""
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*AWKWARD, *(message["content"] for chat in synthetic.chats(60) for message in chat)):
        expected = tokenizer.encode(text).ids.tolist()
        assert theirs.encode(text, add_special_tokens=False).ids == expected, text
        assert theirs.decode(expected) == tokenizer.decode(expected), text


def continued(folder: Path, model: Model, text: str, new_tokens: int) -> str:
    """What transformers and our decoder say after a text, which is the same."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    import torch

    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = model.text(text)
    ids = tokenizer(text)["input_ids"]
    assert ids == prompt.tolist()
    made = theirs.generate(torch.tensor([ids]), max_new_tokens=new_tokens, do_sample=False)[0, len(ids) :]
    (answer,) = model.answer([prompt], max_new_tokens=new_tokens)
    assert [token for token in made.tolist() if token != model.tokenizer.eos_id] == answer.tokens
    whole = str(tokenizer.decode([*ids, *made], skip_special_tokens=True))
    assert whole == text + model.continuation(prompt, answer)
    return whole


def story(folder: Path) -> tuple[str, Path, Path]:
    """A llama2.c model that tells a story from "Once upon" on, with its tokenizer."""
    path = synthetic.llama2c_tokenizer(folder)
    tokenizer = make_tokenizer(str(path))
    told, tokens = "Once upon", tokenizer.encode("Once upon").ids.tolist()
    begun = list(tokens)
    for word in " ".join(message["content"] for chat in synthetic.chats(20) for message in chat).split():
        longer = tokenizer.encode(f"{told} {word}").ids.tolist()
        if len(longer) == len(set(longer)) and longer[: len(begun)] == begun and len(longer) < 40:
            told, tokens = f"{told} {word}", longer
    assert tokenizer.eos_id is not None
    write_story(folder / "model.bin", [*tokens, tokenizer.eos_id], tokenizer.vocab_size)
    return told, folder / "model.bin", path


def test_a_file_of_llama2c_becomes_a_folder(tmp_path: Path) -> None:
    told, file, vocabulary = story(tmp_path)
    flags = [f"--model={file}", f"--config.tokenizer.path={vocabulary}"]
    written(*flags, f"--output={tmp_path}/out")
    same_tokens(tmp_path / "out", make_tokenizer(str(vocabulary)))
    # The SentencePiece model beside it, which llama.cpp reads, makes the same tokens.
    same_tokens(tmp_path / "out", make_tokenizer(f"{tmp_path}/out/tokenizer.model"))
    generation = read(tmp_path / "out", "generation_config.json")
    assert generation == {"bos_token_id": 1, "eos_token_id": [2], "pad_token_id": 2}
    ours = opened(tmp_path / "out", chat=False)
    (answer,) = ours.answer([ours.text("Once upon")], max_new_tokens=60)
    assert "Once upon" + ours.continuation(ours.text("Once upon"), answer) == told


@pytest.mark.parity
def test_transformers_tells_the_story_of_a_llama2c_file(tmp_path: Path) -> None:
    told, file, vocabulary = story(tmp_path)
    flags = [f"--model={file}", f"--config.tokenizer.path={vocabulary}"]
    written(*flags, f"--output={tmp_path}/out")
    assert continued(tmp_path / "out", opened(file, flags[1], chat=False), "Once upon", 60) == told


@pytest.mark.parity
def test_stories260k_goes_on_in_transformers(shared_data: Path, tmp_path: Path) -> None:
    directory = shared_data / "tinyllamas_stories260k"
    flags = [f"--model={directory}/stories260K.bin", f"--config.tokenizer.path={directory}/tok512.bin"]
    written(*flags, f"--output={tmp_path}/out")
    model = opened(f"{directory}/stories260K.bin", flags[1], chat=False)
    same_tokens(tmp_path / "out", model.tokenizer)
    whole = continued(tmp_path / "out", model, "Once upon a time", 120)
    document = (directory / "stories260K.md").read_text()
    assert whole in document and len(whole) > 200


def test_a_sentencepiece_model_keeps_the_tokens_that_were_added_to_it(tmp_path: Path) -> None:
    synthetic.sentencepiece_model(tmp_path)
    size = make_tokenizer(str(tmp_path)).vocab_size
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_start|>": size, "<|im_end|>": size + 1}))
    named = {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "tokenizer_class": "LlamaTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    tokenizer = make_tokenizer(str(tmp_path))
    converted, model = convert(tmp_path / "tokenizer.model", tokenizer)
    assert model == (tmp_path / "tokenizer.model").read_bytes()
    text = "<|im_start|>user\nHi<|im_end|>\n"
    assert converted.encode(text, add_special_tokens=False).ids == tokenizer.encode(text).ids.tolist()
    assert converted.encode(text).ids[0] == tokenizer.bos_id
