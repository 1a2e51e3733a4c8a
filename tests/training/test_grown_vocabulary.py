"""`model.vocab_size=grow`: a tokenizer with more tokens than a checkpoint has rows."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import SingleDeviceSharding

from im_jax import export, validation
from im_jax.command_line.arguments import with_fields
from im_jax.config import Config, ModelConfig
from im_jax.config.loss import KLConfig
from im_jax.errors import ConfigError
from im_jax.models import decoder, huggingface
from im_jax.models.checkpoints import grow_vocabulary, load_pretrained, open_params, resolve_model
from im_jax.models.files.layout import by_path
from im_jax.opening import open_model, open_run
from im_jax.training.run import resolve
from im_jax.training.start import train
from tests.models.reference import random_params, variant
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

TABLES = {"embedding": "model.embed_tokens.weight", "head": "lm_head.weight"}
BYTES = 258
"""Entries of the tokenizer of bytes."""


def checkpoint(path: Path, name: str, dtype: str = "float32") -> dict[str, np.ndarray]:
    """A folder of random weights, and what it holds."""
    config = dataclasses.replace(variant(name), param_dtype=dtype)
    huggingface.save_params(jax.tree.map(lambda x: x.astype(dtype), random_params(config)), config, path)
    return safetensors.numpy.load_file(path / "model.safetensors")


def loaded(config: ModelConfig) -> dict[str, np.ndarray]:
    device = SingleDeviceSharding(jax.devices()[0])
    shardings = jax.tree.map(lambda _: device, decoder.abstract_params(config))
    return jax.tree.map(np.asarray, by_path(load_pretrained(config, shardings)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["head_dim", "tied"])
def test_new_rows_are_the_mean_of_the_old(name: str, stored: str, dtype: str, tmp_path: Path) -> None:
    files = checkpoint(tmp_path, name, stored)
    own = len(files[TABLES["embedding"]])
    plain = resolve_model(ModelConfig(path=str(tmp_path), param_dtype=dtype))
    asked = resolve_model(ModelConfig(path=str(tmp_path), param_dtype=dtype, vocab_size="grow"))
    config = grow_vocabulary(asked, own + 3, 8)
    assert config.vocab_size == -(-(own + 3) // 8) * 8
    before, after = loaded(plain), loaded(config)
    assert before.keys() == after.keys() and ("head" in after) == (name != "tied")
    with open_params(config) as read:
        on_host = {path: read.on_host(path) for path in TABLES.keys() & after.keys()}
    for path, value in after.items():
        if path not in TABLES:
            np.testing.assert_array_equal(value, before[path])
            continue
        old = files[TABLES[path]].astype(np.float64)
        mean = old.sum(0) / own
        expected = np.concatenate([old, np.tile(mean.astype(np.float32), (config.vocab_size - own, 1))])
        rows = value if path == "embedding" else value.T
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float32
        np.testing.assert_array_equal(rows, expected.astype(np.float32).astype(kind))
        np.testing.assert_array_equal(value, on_host[path])


def test_rows_are_no_more_than_the_tokens_and_the_devices_ask_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = len(checkpoint(tmp_path, "tied")[TABLES["embedding"]])
    asked = resolve_model(ModelConfig(path=str(tmp_path), vocab_size="grow"))

    def rows(*sizes: Any) -> Any:
        return grow_vocabulary(asked, *sizes).vocab_size

    assert own % 5 != 0
    assert rows(own - 3, 1) == rows(own, 1) == own
    assert capsys.readouterr().err == ""
    assert rows(own + 1, 1) == own + 1
    assert f"has {own} rows of embeddings; 1 are added, each the mean of these: 1 for tokens, 0" in told(
        capsys
    )
    assert rows(own, 5) == own + 5 - own % 5
    assert f"0 for tokens, {5 - own % 5} to fill up" in told(capsys)
    # A run that goes on keeps its rows on other devices; another tokenizer makes it another run.
    assert rows(own + 1, 1, own + 7) == own + 7
    assert rows(own + 9, 1, own + 7) == own + 9
    assert grow_vocabulary(ModelConfig(vocab_size="grow"), BYTES, 4).vocab_size == 260
    assert grow_vocabulary(ModelConfig(vocab_size=7), BYTES, 4).vocab_size == 7


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def grown_config(base: Path, **loss: Any) -> Config:
    config = tiny_config()
    config.model = ModelConfig(path=str(base), vocab_size="grow", compute_dtype="float32")
    config.loss = dataclasses.replace(config.loss, **loss)
    config.tokenizer = dataclasses.replace(config.tokenizer, path="bytes")
    config.optimizer = dataclasses.replace(config.optimizer, schedule="constant", learning_rate=1e-2)
    return config


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that lacks rows for the last two of the tokenizer's entries: where texts begin and end."""
    path = tmp_path_factory.mktemp("base")
    model = dataclasses.replace(tiny_config().model, vocab_size=256)
    huggingface.save_params(decoder.init_params(model, jax.random.key(1)), model, path)
    return path


def test_a_run_with_new_tokens_goes_on_and_is_exported(base: Path, tmp_path: Path) -> None:
    config = grown_config(base, kl=KLConfig(weight=0.1))
    for steps in (2, 4):
        config.train.steps = steps
        train(config, tmp_path / "run", QUIET)
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["model"]["vocab_size"] == BYTES
    entries = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    kl = [entry["kl"] for entry in entries if entry["split"] == "train"]
    assert abs(kl[0]) < 1e-5 < kl[-1]  # the base has the same new rows

    export.main(export.run.parse(["export", f"--workdir={tmp_path}/run", f"--output={tmp_path}/out"]))
    weights = safetensors.numpy.load_file(tmp_path / "out/model.safetensors")
    assert len(weights[TABLES["embedding"]]) == BYTES
    assert json.loads((tmp_path / "out/config.json").read_text())["vocab_size"] == BYTES
    texts = []
    for model in (open_run(tmp_path / "run"), open_model(f"{tmp_path}/out")):
        plain = dataclasses.replace(model, config=dataclasses.replace(model.config, compute_dtype="float32"))
        texts.append(plain.answer([plain.text("Copy")], max_new_tokens=8)[0].tokens)
    assert texts[0] == texts[1]


def test_a_model_is_asked_and_exported_with_new_tokens(base: Path, tmp_path: Path) -> None:
    flags = [f"--model={base}", "--config.tokenizer.path=bytes", "--config.model.vocab_size=grow"]
    export.main(export.run.parse(["export", *flags, f"--output={tmp_path}/out"]))
    weights = safetensors.numpy.load_file(tmp_path / "out/model.safetensors")
    old = safetensors.numpy.load_file(base / "model.safetensors")
    assert weights.keys() == old.keys()
    for name in TABLES.values():
        if name in old:
            np.testing.assert_array_equal(weights[name][:256], old[name])
            np.testing.assert_allclose(weights[name][256:], np.tile(old[name].mean(0), (2, 1)), atol=1e-6)
    model = open_model(export.run.parse(["export", *flags]).config, chat=False)
    assert model.config.vocab_size == BYTES and jnp.all(
        model.params["embedding"][-1] == weights[TABLES["embedding"]][-1]
    )


def test_without_grow_more_tokens_are_refused(base: Path) -> None:
    config = grown_config(base)
    config.model.vocab_size = None
    with pytest.raises(
        ConfigError, match=r"256 is smaller than the 258 .*; set model\.vocab_size=grow to give"
    ):
        resolve(config)
    config.model.vocab_size = BYTES
    with pytest.raises(ConfigError, match=r"has a vocabulary of 256; .* or set it to grow"):
        resolve(config)


def test_what_is_neither_a_number_nor_grow_is_refused() -> None:
    assert with_fields(Config(), {"model.vocab_size": "512"}).model.vocab_size == 512
    assert with_fields(Config(), {"model.vocab_size": "none"}).model.vocab_size is None
    for text, message in (
        ("grwo", "model.vocab_size='grwo' is not one of grow, nor a whole number; did you mean grow?"),
        ("1", "model.vocab_size=1 must be 2 or more"),
    ):
        config = with_fields(Config(), {"model.vocab_size": text})
        config.train.steps = 1
        with pytest.raises(ConfigError) as error:
            validation.check(config)
        assert str(error.value) == message
