"""Runs that train an adapter beside a model in NF4."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from im_jax.config import Config, LoraConfig
from im_jax.errors import ConfigError
from im_jax.models import decoder, huggingface
from im_jax.models.files.layout import LayersOnDisk, by_path
from im_jax.models.quantised.maps import CODES, SCALES, is_quantised
from im_jax.models.quantised.nf4 import Quantised, dequantise
from im_jax.opening import open_run, run_to_export
from im_jax.saved_config import config_of_run
from im_jax.training import run as runs
from im_jax.training.memory import bytes_on_a_device
from im_jax.training.start import train
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model whose maps are large enough that rounding them shows."""
    folder = tmp_path_factory.mktemp("base")
    model = dataclasses.replace(tiny_config(embed_dim=64, mlp_dim=128).model, vocab_size=258)
    params = jax.jit(lambda key: decoder.init_params(model, key))(jax.random.key(1))
    params["layers"] = jax.tree.map(lambda x: 3 * x if x.ndim > 2 else x, params["layers"])
    huggingface.save_params(params, model, folder)
    return folder


def config_on(base: Path, dtype: str = "nf4") -> Config:
    config = tiny_config()
    config.model = dataclasses.replace(
        config.model,
        path=str(base),
        vocab_size=None,
        base_dtype=dtype,
        compute_dtype="float32",
        lora=LoraConfig(rank=2),
    )
    config.tokenizer.path = "bytes"
    config.optimizer = dataclasses.replace(config.optimizer, learning_rate=1e-2, schedule="constant")
    return config


def losses(config: Config) -> tuple[list[float], runs.Run]:
    """Of all steps, and the run."""
    run = runs.prepare_run(runs.resolve(config))
    found = []
    with jax.set_mesh(run.mesh):
        state, batches = run.first_state(), run.batches()
        for step in range(1, run.last_step + 1):
            state, metrics = run.train_step(state, run.frozen, run.put(next(batches)), run.told(step))
            found.append(float(metrics.loss))
    return found, run


def test_the_base_stays_the_loss_is_near_that_beside_whole_weights_and_memory_is_an_eighth(
    base: Path,
) -> None:
    config = config_on(base)
    before = jax.device_get(runs.prepare_run(runs.resolve(config)).frozen.rest)
    found, run = losses(config)
    expected, whole = losses(config_on(base, "param_dtype"))
    jax.tree.map(np.testing.assert_array_equal, run.frozen.rest, before)
    assert found[-1] < found[0] - 0.1
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert found != expected
    codes = {path: x for path, x in by_path(run.frozen.rest).items() if is_quantised(path)}
    maps = by_path(whole.frozen.rest).keys() - by_path(run.frozen.rest).keys()
    weights = {path: by_path(whole.frozen.rest)[path] for path in maps}
    # Float32 has 32 bits, NF4 4 and 32 for each 64 weights.
    assert bytes_on_a_device(codes) * 32 == bytes_on_a_device(weights) * 4.5
    assert bytes_on_a_device(run.abstract_state()) == bytes_on_a_device(whole.abstract_state())


def test_it_goes_on_opens_and_answers_with_the_same_codes(base: Path, tmp_path: Path) -> None:
    """Also where it is held to the model without the adapter."""
    config = config_on(base)
    config.loss.kl.weight = 0.1
    train(config, tmp_path / "whole", QUIET)
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=4))
    train(short, tmp_path / "cut", QUIET)
    assert train(config, tmp_path / "cut", QUIET)["resumed_from"] == 4
    one, other = (open_run(tmp_path / name, chat=False) for name in ("whole", "cut"))
    assert any(map(is_quantised, by_path(one.params)))
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    assert one.answer([one.text("abc")], max_new_tokens=3) == other.answer(
        [one.text("abc")], max_new_tokens=3
    )
    # What is exported are the weights that the codes say.
    with run_to_export(tmp_path / "whole", config_of_run(tmp_path / "whole")) as exported:
        for name in ("attention.query", "attention.output", "mlp.down"):
            found = exported.parameter(f"layers.{name}")
            assert isinstance(found, LayersOnDisk)
            parts = (by_path(one.params)[f"layers.{name}{end}"][1] for end in (CODES, SCALES))
            weight = dequantise(Quantised(*parts))
            np.testing.assert_array_equal(found.read(1).reshape(weight.shape), weight)
    # An adapter may also be asked beside the whole weights.
    asked = config_of_run(tmp_path / "whole")
    asked.model.base_dtype = "param_dtype"
    assert not any(map(is_quantised, by_path(open_run(tmp_path / "whole", asked, chat=False).params)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora": LoraConfig()}, r"model\.base_dtype=nf4 needs an adapter \(model\.lora\.rank\): it is for"),
        ({"path": "", "vocab_size": 258}, r"model\.base_dtype=nf4 needs model\.path"),
    ],
)
def test_models_that_are_trained_themselves_are_refused(base: Path, change: dict, message: str) -> None:
    config = config_on(base)
    config.model = dataclasses.replace(config.model, **change)
    with pytest.raises(ConfigError, match=message):
        runs.resolve(config)


@pytest.mark.parametrize("pattern", ["layers.*", "layers.attention.query"])
def test_maps_in_4_bits_are_not_trained(base: Path, pattern: str) -> None:
    config = config_on(base)
    config.train.trainable = pattern
    with pytest.raises(ConfigError, match=r"names layers\.attention\..*, which is not trained with model"):
        runs.resolve(config)
