"""A model is the same whatever it is opened from: a run, a Hugging Face folder, a llama2.c file."""

import copy
import dataclasses
import struct
from pathlib import Path

import jax
import numpy as np
import pytest

from im_jax.config import Config, ModelConfig
from im_jax.data.records.conversation import Message
from im_jax.errors import ConfigError
from im_jax.models import decoder
from im_jax.models.huggingface import save_params
from im_jax.models.loaded import Model
from im_jax.opening import open_model, open_run
from im_jax.training.start import train
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")

MODEL = ModelConfig(
    vocab_size=258,
    num_layers=2,
    embed_dim=32,
    num_heads=4,
    num_kv_heads=2,
    mlp_dim=64,
    max_positions=256,
    tie_embeddings=True,
    compute_dtype="float32",
)


def random_params() -> decoder.Params:
    params = jax.jit(lambda key: decoder.init_params(MODEL, key))(jax.random.key(3))
    return jax.tree.map(lambda x: np.asarray(x * 6 if x.ndim > 1 else x), params)


def write_llama2c(params: decoder.Params, path: Path) -> None:
    """The format of llama2.c, version 0: seven sizes, then all matrices, each `[layers, out, in]`."""
    layers = params["layers"]
    heads = (MODEL.embed_dim, MODEL.num_heads, MODEL.num_kv_heads)
    sizes = (heads[0], MODEL.mlp_dim, MODEL.num_layers, heads[1], heads[2], 258, MODEL.max_positions)

    def interleaved(x: np.ndarray) -> np.ndarray:
        """Rotary pairs side by side, where ours are halves apart: `[layers, D, heads, K]`."""
        halves = x.reshape(*x.shape[:3], 2, -1)
        return np.swapaxes(halves, 3, 4).reshape(x.shape)

    def rows(x: np.ndarray) -> np.ndarray:
        return np.swapaxes(x.reshape(x.shape[0], x.shape[1], -1), 1, 2)

    attention, mlp = layers["attention"], layers["mlp"]
    tensors = [
        params["embedding"],
        layers["attention_norm"]["scale"],
        rows(interleaved(attention["query"])),
        rows(interleaved(attention["key"])),
        rows(attention["value"]),
        np.swapaxes(attention["output"].reshape(MODEL.num_layers, -1, heads[0]), 1, 2),
        layers["mlp_norm"]["scale"],
        rows(mlp["gate"]),
        rows(mlp["down"]),
        rows(mlp["up"]),
        params["final_norm"]["scale"],
        np.zeros((2, MODEL.max_positions, heads[0] // heads[1] // 2)),
    ]
    data = b"".join(np.ascontiguousarray(x, np.float32).tobytes() for x in tensors)
    path.write_bytes(struct.pack("7i", *sizes) + data)


def text_of(model: Model) -> list[str]:
    prompts = [model.text(text) for text in ("Once upon", "a", "what else?")]
    return [answer.text for answer in model.answer(prompts, max_new_tokens=20)]


def run_of(folder: Path, workdir: Path) -> Path:
    """A run whose one step is too small to change the weights of a folder."""
    config = tiny_config()
    config.model = ModelConfig(path=str(folder), compute_dtype="float32")
    config.tokenizer.path = "bytes"
    config.optimizer.learning_rate = 1e-30
    config.train.steps = 1
    train(config, workdir, QUIET)
    return workdir


def test_equal_weights_say_the_same_from_a_run_a_folder_a_file_and_memory(tmp_path: Path) -> None:
    params, folder, file = random_params(), tmp_path / "folder", tmp_path / "model.bin"
    save_params(params, MODEL, folder)
    write_llama2c(params, file)
    found = {}
    for name, path in (("folder", folder), ("file", file)):
        config = Config()
        config.model = ModelConfig(path=str(path), compute_dtype="float32")
        config.tokenizer.path = "bytes"
        found[name] = open_model(config, chat=False)
    found["memory"] = dataclasses.replace(found["folder"], params=params)
    found["run"] = open_run(run_of(folder, tmp_path / "run"), chat=False)
    texts = {name: text_of(model) for name, model in found.items()}
    assert texts["folder"] == texts["file"] == texts["memory"] == texts["run"]
    assert len(set(texts["folder"])) == 3


def test_a_model_without_a_tokenizer_beside_it_is_refused_until_one_is_named(tmp_path: Path) -> None:
    save_params(random_params(), MODEL, tmp_path)
    with pytest.raises(ConfigError, match=r"no tokenizer beside model\.path=.*--config\.tokenizer\.path"):
        open_model(str(tmp_path), chat=False)


def test_a_run_is_opened_as_it_was_trained(tmp_path: Path) -> None:
    config = tiny_config()
    config.train.steps = 2
    train(config, tmp_path, QUIET)
    model = open_run(tmp_path)
    assert model.config.vocab_size == 320 and model.template is not None
    answers = model.answer([model.prompt([Message("user", "Say hi.")])] * 3, max_new_tokens=8)
    assert len({answer.text for answer in answers}) == 1
    assert all(len(answer.tokens) <= 8 for answer in answers)
    with pytest.raises(ConfigError, match=r"has no checkpoints; give the directory of a run"):
        open_run(tmp_path / "nowhere")


def test_opening_leaves_the_configuration_that_it_is_given_as_it_was(tmp_path: Path) -> None:
    save_params(random_params(), MODEL, tmp_path)
    config = Config()
    config.model.path, config.tokenizer.path = str(tmp_path), "bytes"
    before = copy.deepcopy(config)
    model = open_model(config, chat=False)
    assert config == before
    assert model.config.embed_dim == MODEL.embed_dim
