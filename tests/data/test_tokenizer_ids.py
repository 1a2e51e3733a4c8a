"""Token ids are those of the libraries that models were trained with, of real tokenizers and of small ones."""

import gzip
import itertools
import json
import pathlib
import struct

import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from tests.data import synthetic
from tests.data.test_tokenizer import GOLDEN_TEXT, HARD_TEXTS

MISTRAL_GOLDEN = [
    774, 3133, 3112, 28747, 13, 3195, 28742, 28713, 28705, 28740, 28750, 28806, 28787, 28804, 1879, 28920,
    333, 28705, 29383, 29530, 13, 13, 27332, 12107, 28747, 28705, 28740, 28774,
]  # fmt: skip
GPT2_GOLDEN = [
    21017, 46486, 25, 198, 2061, 338, 1105, 10, 22, 30, 41492, 220, 19526, 254, 25001, 121, 198, 198, 21017,
    18261, 25, 678,
]  # fmt: skip


def real_texts(shared_data: pathlib.Path, count: int) -> list[str]:
    with gzip.open(shared_data / "instruction_modelling" / "alpagasus_3k_dolly.jsonl.gz", "rt") as lines:
        rows = [json.loads(next(lines))["messages"] for _ in range(count)]
    return ["</s>\n".join(message["content"] for message in messages) + "</s>" for messages in rows]


def small_texts() -> list[str]:
    return ["</s>\n".join(message["content"] for message in chat) + "</s>" for chat in synthetic.chats(60)]


def test_golden_ids_of_mistral(mistral: Tokenizer) -> None:
    assert mistral.encode(GOLDEN_TEXT).ids.tolist() == MISTRAL_GOLDEN


def test_golden_ids_of_gpt2(gpt2: Tokenizer) -> None:
    assert gpt2.encode(GOLDEN_TEXT).ids.tolist() == GPT2_GOLDEN


def test_only_a_text_that_opens_with_a_word_gets_a_space(mistral: Tokenizer) -> None:
    def pieces(text: str) -> list[str]:
        return [mistral.piece(int(i)) for i in mistral.encode(text).ids]

    assert pieces("Hi</s>\nHi") == [" Hi", "</s>", "\n", "Hi"]
    assert pieces("<s>Hi") == ["<s>", "Hi"]
    assert pieces(" Hi") == [" Hi"]


def test_only_a_text_that_opens_with_a_word_gets_a_space_from_a_small_one(
    small_sentencepiece: Tokenizer,
) -> None:
    def shown(text: str) -> str:
        return "".join(small_sentencepiece.piece(int(i)) for i in small_sentencepiece.encode(text).ids)

    assert shown("Hi</s>\nHi") == " Hi</s>\nHi"
    assert shown("<s>Hi") == "<s>Hi"
    assert shown(" Hi") == " Hi"


REAL = ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3")
SMALL = "made here"


@pytest.mark.parity
@pytest.mark.parametrize("file", [*REAL, SMALL])
def test_sentencepiece_ids_equal_transformers(
    file: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    from transformers.tokenization_utils_base import generate_merges

    path, texts = _model_and_texts(file, request, tmp_path)
    ours = make_tokenizer(str(path))
    pieces = ModelProto.FromString(path.read_bytes()).pieces
    vocabulary = {piece.piece: i for i, piece in enumerate(pieces)}
    # LlamaTokenizer.from_pretrained of transformers 5.23 orders the merges of a .model by id instead of by
    # score, and so cuts repeated spaces as the model never saw them; hence the merges are made here.
    peer = transformers.LlamaTokenizer(
        vocab=vocabulary,
        merges=generate_merges(vocabulary, {piece.piece: piece.score for piece in pieces}),
        additional_special_tokens=[pieces[i].piece for i in sorted(ours.special_ids)],
    )
    texts = [*HARD_TEXTS, "[INST] a [/INST]</s>", *texts]
    for text, encoding in zip(texts, ours.encode_batch(texts), strict=True):
        ids = peer.encode(text, add_special_tokens=False)
        assert encoding.ids.tolist() == ids, text
        assert ours.decode(ids) == peer.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids, skip_special=False) == peer.decode(ids)
    assert (ours.bos_id, ours.eos_id) == (peer.bos_token_id, peer.eos_token_id)


def _model_and_texts(
    file: str, request: pytest.FixtureRequest, folder: pathlib.Path
) -> tuple[pathlib.Path, list[str]]:
    if file == SMALL:
        return synthetic.sentencepiece_model(folder), small_texts()
    shared: pathlib.Path = request.getfixturevalue("shared_data")
    return shared / "mistral_tokenizer" / file, real_texts(shared, 1000)


@pytest.mark.parity
def test_byte_level_ids_equal_transformers(tmp_path: pathlib.Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    ours = make_tokenizer(str(synthetic.byte_level_bpe(tmp_path)))
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    peer = transformers.GPT2Tokenizer(vocab=model["vocab"], merges=merges)
    for text in [*HARD_TEXTS, "a<|endoftext|> b", *small_texts()]:
        assert ours.encode(text).ids.tolist() == peer.encode(text, add_special_tokens=False), text


def llama2c_ids(content: bytes, text: str) -> list[int]:
    """llama2.c: begin with characters (bytes where unknown), then merge the best pair until none is left."""
    scores: dict[bytes, tuple[float, int]] = {}
    at, token_id = 4, 0
    while at < len(content):
        score, length = struct.unpack_from("<fi", content, at)
        scores.setdefault(content[at + 8 : at + 8 + length], (score, token_id))
        at, token_id = at + 8 + length, token_id + 1
    symbols = [character.encode() for character in " " + text]
    while True:
        pairs = [a + b for a, b in itertools.pairwise(symbols)]
        merges = [(scores[pair][0], -i) for i, pair in enumerate(pairs) if pair in scores]
        if not merges:
            return [i for s in symbols for i in ([scores[s][1]] if s in scores else [b + 3 for b in s])]
        i = -max(merges)[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


STORY = 'Once upon a time, there was a little girl named Lily. She said: "Ça va?"\n\nThe end 你.'


def test_llama2c_ids_equal_its_own_algorithm(stories: Tokenizer, shared_data: pathlib.Path) -> None:
    content = (shared_data / "tinyllamas_stories260k" / "tok512.bin").read_bytes()
    for text in (STORY, *(text.replace("</s>", "") for text in real_texts(shared_data, 30))):
        assert stories.encode(text).ids.tolist() == llama2c_ids(content, text)
    assert (stories.vocab_size, stories.bos_id, stories.eos_id, stories.eos_text) == (512, 1, 2, "</s>")


def test_ids_of_a_small_llama2c_tokenizer_equal_its_own_algorithm(tmp_path: pathlib.Path) -> None:
    path = synthetic.llama2c_tokenizer(tmp_path)
    ours, content = make_tokenizer(str(path)), path.read_bytes()
    for text in (STORY, *(text.replace("</s>", "") for text in small_texts())):
        assert ours.encode(text).ids.tolist() == llama2c_ids(content, text)
    assert (ours.bos_id, ours.eos_id, ours.eos_text) == (1, 2, "</s>")
