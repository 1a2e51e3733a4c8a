"""The sharding table, its checks, and that eight devices compute what one does."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import decoder, presets
from im_jax.models.sharding import ShardingRules, check_divisible, constrain
from tests.models.reference import SMALL
from tests.subprocess_devices import run_on_devices


def mesh_of(replica: int, fsdp: int, tensor: int) -> AbstractMesh:
    names = ("replica", "fsdp", "tensor")
    return AbstractMesh((replica, fsdp, tensor), names, axis_types=(AxisType.Auto,) * 3)


def test_rules_turn_logical_axes_into_mesh_axes() -> None:
    rules = ShardingRules()
    assert rules.spec(("batch", "length", "act_embed")) == P(("replica", "fsdp"), None, None)
    assert rules.spec(("layers", "embed", "kv_heads", "head_dim")) == P(None, "fsdp", "tensor", None)
    assert ShardingRules(embed=None).spec(("vocab", "embed")) == P("tensor", None)


@pytest.mark.parametrize(
    ("rules", "axes", "message"),
    [
        (ShardingRules(), ("heads", "mlp"), "'heads' and 'mlp' both map to mesh axis 'tensor'"),
        (ShardingRules(), ("batch", "embed"), "'batch' and 'embed' both map to mesh axis 'fsdp'"),
        (ShardingRules(), ("vocab", "model"), "unknown logical axis 'model'; the rules know batch, length"),
    ],
)
def test_collisions_and_unknown_axes_are_refused(
    rules: ShardingRules, axes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rules.spec(axes)


@pytest.mark.parametrize("preset", [presets.tinyllama_1b, presets.llama2_7b, presets.mistral_7b])
def test_a_pod_holds_equal_shards_of_every_matrix(preset: Callable[[], ModelConfig]) -> None:
    shardings = decoder.param_shardings(preset(), mesh_of(2, 16, 4))
    for sharding, shape in zip(
        jax.tree.leaves(shardings), jax.tree.leaves(decoder.abstract_params(preset())), strict=True
    ):
        whole, shard = math.prod(shape.shape), math.prod(sharding.shard_shape(shape.shape))
        is_norm = min(shape.shape) in (preset().num_layers, whole) and len(shape.shape) < 3
        assert whole == shard * (1 if is_norm else 16 * 4)


@pytest.mark.parametrize(
    ("change", "mesh", "message"),
    [
        (
            {"vocab_size": 49},
            (1, 1, 2),
            r"model.vocab_size 49 is not divisible by mesh.tensor=2 \(dimension 0 of parameter embedding, "
            r"shape \(49, 32\)\)",
        ),
        ({"num_kv_heads": 1}, (1, 1, 2), "model.num_kv_heads 1 .* mesh.tensor=2 .* layers.attention.key"),
        ({"embed_dim": 40}, (1, 16, 1), "model.embed_dim 40 is not divisible by mesh.fsdp=16"),
    ],
)
def test_sizes_that_do_not_divide_name_the_fields(
    change: dict[str, int], mesh: tuple[int, int, int], message: str
) -> None:
    config = dataclasses.replace(SMALL, **change)
    shapes, axes = decoder.abstract_params(config), decoder.logical_axes(config)
    with pytest.raises(ConfigError, match=message):
        check_divisible(shapes, axes, mesh_of(*mesh), ShardingRules())


@pytest.mark.parametrize("norm", ["head", "heads"])
def test_norms_of_heads_lie_on_a_mesh(norm: str) -> None:
    config = dataclasses.replace(SMALL, head_norm=norm)
    found = decoder.param_shardings(config, mesh_of(1, 1, 2))["layers"]["attention"]["query_norm"]["scale"]
    assert found.is_fully_replicated == (norm == "head")


def test_without_a_mesh_constraints_do_nothing_but_are_checked() -> None:
    x = jnp.ones((2, 3))
    assert constrain(x, ("batch", "length"), ShardingRules()) is x
    with pytest.raises(ConfigError, match="unknown logical axis 'rows'"):
        constrain(x, ("rows", "length"), ShardingRules())


def test_eight_devices_compute_what_one_does() -> None:
    assert "same on 8 devices" in run_on_devices("tests.models.check_sharded_decoder")
