"""A model with its maps in NF4: its logits, its gradients, its parameters, how it is read, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import AbstractMesh, AxisType

from im_jax.config import LoraConfig, ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import counts, decoder, huggingface, mlp
from im_jax.models.adapters.lora import B, is_adapter
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.quantised.maps import CODES, SCALES, is_quantised, wide
from im_jax.models.quantised.nf4 import quantise
from tests.models.quantised.test_nf4 import by_definition
from tests.models.reference import SMALL, random_params, reference_logits
from tests.subprocess_devices import run_on_devices

PLAIN = dataclasses.replace(SMALL, embed_dim=128, num_heads=4, num_kv_heads=2, mlp_dim=256)
NF4 = dataclasses.replace(PLAIN, base_dtype="nf4")
ADAPTED = dataclasses.replace(NF4, lora=LoraConfig(rank=3, alpha=5.0))
"""Heads of 32, so that blocks of the map `output` are of two heads."""
TOKENS = np.random.default_rng(0).integers(0, 48, 11)
ROWS = [jnp.asarray(TOKENS)[None], jnp.ones((1, 11), jnp.int32), jnp.arange(11)[None]]
Flat = dict[str, Any]


def flat(params: decoder.Params) -> Flat:
    return traverse_util.flatten_dict(params, sep=".")


def nested(params: Flat) -> decoder.Params:
    return traverse_util.unflatten_dict(params, sep=".")


def maps() -> dict[str, int]:
    """The maps of PLAIN, and how many of their dimensions are inputs."""
    found = {}
    for path in flat(decoder.abstract_params(NF4)):
        if path.endswith(CODES):
            name = path.removesuffix(CODES)
            found[name] = 2 if name.endswith("output") else 1
    return found


def quantised_params(params: Flat) -> Flat:
    """Parameters of NF4 out of those of PLAIN."""
    made = {path: x for path, x in params.items() if path not in maps()}
    for path, count in maps().items():
        weight = np.asarray(params[path])
        layers = [quantise(layer.reshape(-1, *layer.shape[count:])) for layer in weight]
        for end, parts in zip((CODES, SCALES), zip(*layers, strict=True), strict=True):
            made[path + end] = jnp.asarray(np.stack(parts))
    return made


def rounded_params(params: Flat) -> Flat:
    """Parameters of PLAIN with what NF4 makes of their maps, in float64."""
    made = dict(params)
    for path, count in maps().items():
        weight = np.asarray(params[path])
        layers = [
            by_definition(layer.reshape(np.prod(layer.shape[:count]), -1)).reshape(layer.shape)
            for layer in weight
        ]
        made[path] = np.stack(layers)
    return made


def test_all_maps_of_layers_are_quantised_and_nothing_else() -> None:
    plain, found = flat(decoder.abstract_params(PLAIN)), flat(decoder.abstract_params(NF4))
    assert {path.rpartition(".")[2] for path in maps()} == {
        *("query", "key", "value", "output", "gate", "up", "down")
    }
    assert found.keys() - plain.keys() == {path + end for path in maps() for end in (CODES, SCALES)}
    assert plain.keys() - found.keys() == set(maps())
    assert found["layers.attention.output_nf4"].shape == (2, 64, 128)
    assert found["layers.attention.output_nf4_scales"].shape == (2, 2, 128)
    assert found["layers.attention.key_nf4"].shape == (2, 64, 2, 32)
    assert counts.num_params(NF4) == counts.num_params(PLAIN)
    assert counts.flops_per_token(NF4, 8) == counts.flops_per_token(PLAIN, 8)
    sizes = {path: x.size * x.dtype.itemsize for path, x in found.items() if is_quantised(path)}
    assert sum(sizes.values()) * 8 == 4.5 * sum(plain[path].size for path in maps())


def test_logits_are_those_of_the_rounded_weights_in_float64() -> None:
    params = flat(random_params(PLAIN))
    found = decoder.logits(nested(quantised_params(params)), NF4, *ROWS)[0]
    expected = reference_logits(nested(rounded_params(params)), PLAIN, TOKENS)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert np.abs(found - decoder.logits(nested(params), PLAIN, *ROWS)[0]).max() > 0.1


@pytest.mark.parametrize(("remat", "parts"), [("none", 1), ("full", 1), ("full", 2)])
def test_gradients_of_adapters_are_those_beside_the_rounded_weights(
    remat: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp, "num_parts", lambda *_: parts)
    params = flat(random_params(PLAIN))
    drawn = flat(random_params(ADAPTED))
    adapter = {path: 0.3 * x for path, x in drawn.items() if is_adapter(path)}

    def gradient(config: ModelConfig, rest: Flat) -> Any:
        def loss(adapter: Flat) -> jax.Array:
            return jnp.mean(jnp.square(decoder.logits(nested(rest | adapter), config, *ROWS)))

        return jax.jit(jax.value_and_grad(loss))(adapter)

    config = dataclasses.replace(ADAPTED, remat=remat)
    found = gradient(config, quantised_params(params))
    rounded = {path: jnp.asarray(x, jnp.float32) for path, x in rounded_params(params).items()}
    expected = gradient(wide(config), rounded)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * np.abs(other).max())
    assert all(np.any(found[1][path]) for path in adapter if path.endswith(B))


def saved(tmp_path: Path, params: Flat) -> ModelConfig:
    huggingface.save_params(nested(params), PLAIN, tmp_path)
    return resolve_model(
        ModelConfig(path=str(tmp_path), base_dtype="nf4", compute_dtype="float32", param_dtype="bfloat16")
    )


def test_files_are_quantised_as_they_are_whatever_the_type_of_the_other_parameters(tmp_path: Path) -> None:
    params = flat(random_params(PLAIN))
    config = saved(tmp_path, params)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shardings = jax.tree.map(lambda _: device, decoder.abstract_params(config))
    found = flat(load_pretrained(config, shardings))
    expected = quantised_params(params)
    assert found.keys() == expected.keys()
    for path, x in expected.items():
        if is_quantised(path):
            np.testing.assert_array_equal(found[path], x, err_msg=path)
            assert found[path].dtype == x.dtype
        else:
            assert found[path].dtype == jnp.bfloat16, path
    again = load_pretrained(config, shardings)
    jax.tree.map(np.testing.assert_array_equal, again, nested(found))


def test_eight_devices_hold_the_same_codes_and_compute_the_same(tmp_path: Path) -> None:
    # Smaller than in float64's tests, where attention is so sharp that gradients magnify rounding.
    params = {path: x / 4 if path in maps() else x for path, x in flat(random_params(PLAIN)).items()}
    config = saved(tmp_path, params)
    assert "same on 8 devices" in run_on_devices("tests.models.quantised.check_sharded", 8, [config.path])


def test_inputs_that_are_no_whole_blocks_are_refused() -> None:
    config = dataclasses.replace(NF4, mlp_dim=172)
    message = "takes 64 inputs of a map together, which do not divide the 172 of down"
    with pytest.raises(ConfigError, match=message):
        decoder.abstract_params(config)


def test_devices_that_would_share_a_block_are_refused() -> None:
    mesh = AbstractMesh((1, 4, 1), ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    message = (
        "has 128 inputs, 2 blocks of 64 with model.base_dtype=nf4, which mesh.fsdp=4 does not divide; "
        "change mesh.fsdp"
    )
    with pytest.raises(ConfigError, match=message):
        decoder.param_shardings(NF4, mesh)
