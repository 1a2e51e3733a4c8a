"""Adapters inside the decoder: what they add, their gradient, what the frozen model costs, which maps have one."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from im_jax.config import LoraConfig, ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import counts, decoder, mlp
from im_jax.models.adapters import lora
from im_jax.models.adapters.dropout import dropped, row_keys
from im_jax.models.adapters.naming import resolve_targets
from im_jax.models.export.merging import changed
from im_jax.models.families.gpt2 import GPT2
from tests.jaxpr import product_flops

BASE = ModelConfig(
    vocab_size=40,
    num_layers=2,
    embed_dim=16,
    num_heads=4,
    num_kv_heads=2,
    mlp_dim=24,
    compute_dtype="float32",
    attention="full",
)
ADAPTED = dataclasses.replace(BASE, lora=LoraConfig(rank=3, alpha=5.0))
ROWS = [
    jnp.asarray(np.random.default_rng(0).integers(0, 40, (2, 8))),
    jnp.array([[1, 1, 1, 2, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1, 0, 0]]),
    jnp.array([[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 0, 0]]),
]
Flat = dict[str, Any]


def flat(params: decoder.Params) -> Flat:
    return traverse_util.flatten_dict(params, sep=".")


def nested(params: Flat) -> decoder.Params:
    return traverse_util.unflatten_dict(params, sep=".")


@functools.cache
def adapted_params() -> Flat:
    """Of ADAPTED, with a B that changes something."""
    params = flat(decoder.init_params(ADAPTED, jax.random.key(0)))
    rng = np.random.default_rng(1)
    return {
        path: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32) if path.endswith(lora.B) else x
        for path, x in params.items()
    }


def change(params: Flat, path: str) -> np.ndarray:
    """What the adapter of a map adds to it, in float64."""
    a, b = (np.asarray(params[path + end], np.float64) for end in (lora.A, lora.B))
    return 5.0 / 3 * np.stack([np.tensordot(one, other, 1) for one, other in zip(a, b, strict=True)])


def maps(params: Flat) -> list[str]:
    return [path.removesuffix(lora.A) for path in params if path.endswith(lora.A)]


def merged_params(params: Flat) -> Flat:
    whole = {path: x for path, x in params.items() if not lora.is_adapter(path)}
    return whole | {p: jnp.asarray(whole[p] + change(params, p), jnp.float32) for p in maps(params)}


def test_a_new_adapter_changes_nothing_and_leaves_the_draws_of_the_model_as_they_are() -> None:
    key = jax.random.key(3)
    plain, adapted = flat(decoder.init_params(BASE, key)), flat(decoder.init_params(ADAPTED, key))
    assert len(maps(adapted)) == 7 and not any(np.any(adapted[p + lora.B]) for p in maps(adapted))
    for path, x in plain.items():
        np.testing.assert_array_equal(adapted[path], x)
    for path in maps(adapted):
        a = adapted[path + lora.A]
        inputs = math.prod(a.shape[1:-1])
        assert a.dtype == jnp.float32 and 0.8 < float(jnp.abs(a).max()) * math.sqrt(inputs) <= 1
    hidden = decoder.hidden_states(nested(adapted), ADAPTED, *ROWS)
    np.testing.assert_array_equal(hidden, decoder.hidden_states(nested(plain), BASE, *ROWS))


def test_an_adapter_adds_its_product_to_each_map() -> None:
    params = adapted_params()
    found = decoder.logits(nested(params), ADAPTED, *ROWS)
    expected = decoder.logits(nested(merged_params(params)), BASE, *ROWS)
    unchanged = decoder.logits(
        nested({p: x for p, x in params.items() if not lora.is_adapter(p)}), BASE, *ROWS
    )
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.abs(found - unchanged).max() > 1e-2


def loss_of(config: ModelConfig, params: Flat) -> jax.Array:
    return jnp.mean(jnp.square(decoder.logits(nested(params), config, *ROWS)))


def test_gradients_follow_the_chain_rule_from_those_of_the_merged_maps() -> None:
    params = adapted_params()
    whole = jax.grad(functools.partial(loss_of, BASE))(merged_params(params))
    trained = {path: x for path, x in params.items() if lora.is_adapter(path)}
    found = jax.grad(lambda trained: loss_of(ADAPTED, params | trained))(trained)
    for path in maps(params):
        d = np.asarray(whole[path], np.float64)
        for layer in range(2):
            a, b = (np.asarray(params[path + end][layer], np.float64) for end in (lora.A, lora.B))
            outputs = b.ndim - 1
            d_a = 5 / 3 * np.tensordot(d[layer], b, (range(-outputs, 0), range(-outputs, 0)))
            inputs = a.ndim - 1
            d_b = 5 / 3 * np.tensordot(a, d[layer], (range(inputs), range(inputs)))
            for end, expected in ((lora.A, d_a), (lora.B, d_b)):
                scale = np.abs(expected).max()
                np.testing.assert_allclose(
                    found[path + end][layer], expected, atol=1e-5 * scale, err_msg=path
                )


@pytest.mark.parametrize("remat", ["none", "full"])
def test_no_gradient_of_a_map_that_is_only_read_is_computed(remat: str) -> None:
    config = dataclasses.replace(ADAPTED, remat=remat)
    shapes = flat(decoder.abstract_params(config))
    shapes = {path: jnp.zeros(x.shape, x.dtype) for path, x in shapes.items()}

    def flops(is_trained: Any) -> int:
        trained = {path: x for path, x in shapes.items() if is_trained(path)}

        def loss(trained: Flat) -> jax.Array:
            return jnp.sum(decoder.hidden_states(nested(shapes | trained), config, *ROWS))

        return product_flops(jax.make_jaxpr(jax.grad(loss))(trained))

    tokens = 2 * 8
    saved = flops(lambda path: True) - flops(lora.is_adapter)
    weights = sum(math.prod(shapes[path].shape) for path in maps(shapes))
    assert saved == 2 * tokens * weights


def test_feed_forward_in_parts_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(ADAPTED, remat="full")
    params = adapted_params()
    trained = {path: x for path, x in params.items() if lora.is_adapter(path)}

    def gradient(count: int) -> Any:
        monkeypatch.setattr(mlp, "num_parts", lambda *_: count)
        return jax.value_and_grad(lambda trained: loss_of(config, params | trained))(trained)

    for found, expected in zip(*map(jax.tree.leaves, (gradient(4), gradient(1))), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_dropout_keeps_the_mean_differs_by_layer_and_map_and_follows_from_the_row() -> None:
    params, config = (
        adapted_params(),
        dataclasses.replace(ADAPTED, lora=dataclasses.replace(ADAPTED.lora, dropout=0.5)),
    )
    assert row_keys(jax.random.key(0), 2, 0.0) is None
    run = jax.jit(lambda keys: decoder.hidden_states(nested(params), config, *ROWS, drop=keys))
    keys = row_keys(jax.random.key(0), 2, 0.5)
    assert keys is not None
    kept = decoder.hidden_states(nested(params), config, *ROWS)
    np.testing.assert_array_equal(run(keys), run(keys))
    assert not np.allclose(run(keys), kept) and not np.allclose(run(keys), run(keys[::-1]))
    np.testing.assert_allclose(run(keys)[:1], run(keys.at[1].set(jax.random.key(9)))[:1], atol=1e-6)
    x = jnp.ones((2, 3, 4000))
    several = [dropped(x, keys, 0.25, number) for number in (0, 1)]
    assert set(np.unique(several[0])) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(float(several[0].mean()) - 1) < 0.02
    assert 0.3 < float((several[0] == several[1]).mean()) < 0.7  # 0.75^2 + 0.25^2 if independent
    assert not bool((several[0][0] == several[0][1]).all())


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("q_proj,v_proj", "query,value"),
        ("v_proj , self_attn.q_proj", "query,value"),
        ("mlp.up,attention.key", "key,up"),
        ("re:.*_proj", "query,key,value,output,gate,up,down"),
        ("re:model\\.layers\\.\\d+\\.mlp\\..*", "gate,up,down"),
        ("all-linear", "all-linear"),
    ],
)
def test_targets_are_named_as_in_peft_or_here(targets: str, expected: str) -> None:
    assert resolve_targets(with_targets(BASE, targets)).lora.targets == expected
    if expected != "all-linear":
        config = resolve_targets(with_targets(BASE, targets))
        adapted = {
            path.rpartition(".")[2].removesuffix(lora.A)
            for path in maps(flat(decoder.abstract_params(config)))
        }
        assert adapted == set(expected.split(","))


def test_a_fused_tensor_means_all_of_its_maps_and_a_shared_name_both() -> None:
    config = dataclasses.replace(BASE, **GPT2.choices, num_kv_heads=4, max_positions=16)
    assert resolve_targets(with_targets(config, "c_attn")).lora.targets == "query,key,value"
    assert resolve_targets(with_targets(config, "c_proj")).lora.targets == "output,down"


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            "q_porj",
            r"model\.lora\.targets=q_porj is the name of no map; there are q_proj, k_proj, .*all-linear",
        ),
        ("q_proj,lm_head", r"model\.lora\.targets=lm_head is the name of no map"),
        ("re:[", r"model\.lora\.targets=re:\[ is no regular expression"),
        ("re:nothing", r"model\.lora\.targets=re:nothing matches no map"),
        (
            "re:model\\.layers\\.0\\..*",
            r"takes model\.layers\.0\.self_attn\.q_proj, but not model\.layers\.1\.",
        ),
    ],
)
def test_targets_that_cannot_be_are_refused(targets: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_targets(with_targets(BASE, targets))


def with_targets(config: ModelConfig, targets: str) -> ModelConfig:
    return dataclasses.replace(config, lora=LoraConfig(rank=2, targets=targets))


def test_merging_rounds_once() -> None:
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.normal(size=(4, 2, 3)), jnp.bfloat16)
    a, b = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 2), (2, 2, 3)))
    expected = np.asarray(weight, np.float64) + 0.7 * np.tensordot(
        np.asarray(a, np.float64), np.asarray(b, np.float64), 1
    )
    found = changed(np.asarray(weight), np.asarray(a), np.asarray(b), 0.7).astype(jnp.bfloat16)
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=2**-8)
    assert found.dtype == jnp.bfloat16


def test_flops_count_no_gradient_of_what_is_only_read() -> None:
    length = 8
    whole, adapted = (
        counts.flops_per_token(BASE, length),
        counts.flops_per_token(ADAPTED, length, lora.is_adapter),
    )
    shapes = flat(decoder.abstract_params(ADAPTED))
    base = sum(math.prod(shapes[path].shape) for path in maps(shapes)) + 16 * 40
    low = sum(math.prod(x.shape) for path, x in shapes.items() if lora.is_adapter(path))
    assert whole - adapted == 2 * base - 6 * low
