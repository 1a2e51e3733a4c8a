"""An exported Llama says in llama.cpp what it says here, by the rules of llama.cpp's converter."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from configs import stories260k
from im_jax.config import LoraConfig
from im_jax.data.tokenizers import make_tokenizer
from im_jax.models.loaded import Model
from im_jax.opening import open_run
from im_jax.training.start import train
from tests import llama_cpp
from tests.data import synthetic
from tests.export.asked import opened, written
from tests.export.test_llama2c import continued
from tests.models.llama2c_file import write_model
from tests.training.test_train import QUIET

pytestmark = pytest.mark.usefixtures("compiled_quickly")

TEXTS = (
    "Once upon a time",
    "What is 7 + 5?\nAnswer: ",
    "two  spaces",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE} \t\N{SNOWMAN}",
)


def says_the_same(folder: Path, model: Model, new_tokens: int) -> list[str]:
    """Tokens of texts, and how they go on; gives the latter."""
    converted = llama_cpp.convert(folder)
    tokenizer = model.tokenizer
    assert (converted.keys["bos"], converted.keys["eos"]) == (tokenizer.bos_id, tokenizer.eos_id)
    whole = []
    for text in TEXTS:
        prompt = model.text(text)
        assert llama_cpp.tokenize(converted, text) == prompt.tolist()
        (answer,) = model.answer([prompt], max_new_tokens=new_tokens)
        whole.append(text + model.continuation(prompt, answer))
        tokens = llama_cpp.continued(converted, text, new_tokens)
        assert tokens == [*prompt.tolist(), *answer.tokens]
        if "\N{REPLACEMENT CHARACTER}" not in whole[-1]:  # bytes at random are no text
            assert llama_cpp.text_of(converted, tokens[1:]) == whole[-1]
    return whole


@pytest.mark.parametrize("tied", [True, False])
def test_llama_cpp_makes_the_same_of_a_small_model(tied: bool, tmp_path: Path) -> None:
    vocabulary = synthetic.llama2c_tokenizer(tmp_path)
    size = make_tokenizer(str(vocabulary)).vocab_size
    made = write_model(tmp_path / "model.bin", tied=tied, vocabulary=size, length=128)
    flags = [f"--model={tmp_path}/model.bin", f"--config.tokenizer.path={vocabulary}"]
    written(*flags, f"--output={tmp_path}/out", "--max_shard=10KB")
    assert len(list(tmp_path.glob("out/*.safetensors"))) > 2
    converted = llama_cpp.convert(tmp_path / "out")
    # What the converter reorders for its own pairs is where llama2.c has it, which turns the same pairs.
    for layer in (0, 1):
        np.testing.assert_array_equal(converted.tensors[f"blk.{layer}.attn_q"], made["query"][layer])
        np.testing.assert_array_equal(converted.tensors[f"blk.{layer}.attn_k"], made["key"][layer])
    assert len(set(says_the_same(tmp_path / "out", opened(tmp_path / "out", chat=False), 12))) == len(TEXTS)


@pytest.fixture(scope="module", params=["whole", "adapter"])
def stories(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """stories260K after some steps of `configs/stories260k.py`, and what is exported of it: trained whole, or by
    an adapter that is merged."""
    folder, path = shared_data / "tinyllamas_stories260k", tmp_path_factory.mktemp("stories")
    chats = [
        [message["content"] for message in chat if message["role"] != "system"]
        for chat in synthetic.chats(80)
    ]
    records = [{"question": turns[0], "answer": turns[1]} for turns in chats]
    (path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    config = stories260k.get_config()
    config.model.path = f"{folder}/stories260K.bin"
    config.tokenizer.path = f"{folder}/tok512.bin"
    config.data = dataclasses.replace(config.data, path=f"{path}/data.jsonl", cache="none", max_length=256)
    config.train = dataclasses.replace(config.train, steps=6, batch_size=4)
    config.eval = dataclasses.replace(config.eval, num_examples=8)
    if request.param == "adapter":
        config.model.lora = LoraConfig(rank=4)
        config.optimizer.learning_rate *= 10
    train(config, path / "run", QUIET)
    written(f"--workdir={path}/run", f"--output={path}/out", "--max_shard=200KB")
    return path / "run", path / "out"


def test_fine_tuned_stories_go_on_the_same_in_llama_cpp(
    stories: tuple[Path, Path], shared_data: Path
) -> None:
    run, out = stories
    assert len(list(out.glob("*.safetensors"))) > 3
    whole = says_the_same(out, open_run(run, chat=False), 60)
    assert "\N{REPLACEMENT CHARACTER}" not in whole[0]
    assert whole[0] not in (shared_data / "tinyllamas_stories260k/stories260K.md").read_text()


@pytest.mark.parity
def test_fine_tuned_stories_go_on_the_same_in_transformers(stories: tuple[Path, Path]) -> None:
    run, out = stories
    for text in TEXTS[:2]:
        assert len(continued(out, open_run(run, chat=False), text, 60)) > len(text) + 20
