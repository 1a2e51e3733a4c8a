"""The state of every optimiser: saved, resumed, carried over, laid out on devices, and told in bytes."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from im_jax import mesh as meshes
from im_jax import validation
from im_jax.config import CheckpointConfig, MeshConfig, OptimizerConfig, flatten, with_overrides
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.models import counts, decoder
from im_jax.models.sharding import ShardingRules
from im_jax.training import state as states
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.factored import spec_beside
from im_jax.training.matrices import muon_dimension_numbers
from im_jax.training.memory import as_bytes
from im_jax.training.optimizer import carry_over, make_optimizer
from im_jax.training.resume import check_same_run
from im_jax.training.schedule_free import gradient_point
from im_jax.training.start import train
from tests.subprocess_devices import run_on_devices
from tests.training.tiny import MODEL, fresh_params, tiny_config

OTHERS = ("adafactor", "lion", "muon", "schedule_free_adamw")
RULES = ShardingRules()


def random_params() -> Any:
    return jax.tree.map(jnp.copy, fresh_params())


def made(**config: Any) -> optax.GradientTransformation:
    return make_optimizer(OptimizerConfig(**config), optax.linear_schedule(1e-3, 0.0, 10))


def shardings_of(optimizer: optax.GradientTransformation) -> states.TrainState:
    return states.state_shardings(MODEL, optimizer, meshes.make_mesh(MeshConfig()), RULES)


@pytest.mark.parametrize("name", OTHERS)
def test_saved_and_restored_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    optimizer = made(name=name, clip_norm=1.0, weight_decay=0.1)
    shardings = shardings_of(optimizer)

    @jax.jit
    def step(state: states.TrainState) -> states.TrainState:
        gradient = jax.tree.map(jnp.cos, gradient_point(state.params, state.opt_state))
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        return states.TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)

    state = step(step(states.state_from_params(random_params(), optimizer, shardings)))
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved.save(2, state, {"position": 2}, {"seed": 0})
        saved.wait()
        abstract = states.with_shardings(states.abstract_state(MODEL, optimizer), shardings)
        restored = saved.restore(abstract)
    for a, b in zip(*(jax.tree.leaves(step(each)) for each in (state, restored)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["adamw", *OTHERS])
def test_state_goes_on_under_other_constants(name: str) -> None:
    old, new = made(name=name), made(name=name, clip_norm=1.0, decay_mask="all", weight_decay=0.1)
    if name in ("adamw", "lion", "muon"):
        new = made(name=name, clip_norm=1.0, beta1=0.5, mu_dtype="bfloat16")
    if name == "schedule_free_adamw":
        new = made(name=name, beta1=0.5)
    params = random_params()
    _, state = jax.jit(old.update)(params, old.init(params), params)
    carried = carry_over(params, state, new, shardings_of(new).opt_state)
    fresh = new.init(params)
    assert jax.tree.structure(carried) == jax.tree.structure(fresh)
    assert [x.dtype for x in jax.tree.leaves(carried)] == [x.dtype for x in jax.tree.leaves(fresh)]
    for a, b in zip(jax.tree.leaves(carried), jax.tree.leaves(state), strict=True):
        if name == "schedule_free_adamw" and a is carried.beta1:
            assert float(a) == 0.5
        else:
            np.testing.assert_array_equal(a, b.astype(a.dtype))


def test_no_optimizer_goes_on_with_the_state_of_another() -> None:
    config = with_overrides(
        tiny_config(), {"checkpoint.allow_changed": "optimizer", "optimizer.name": "lion"}
    )
    with pytest.raises(
        ConfigError, match=r"another configuration.*--config\.optimizer\.name=adamw, not lion"
    ):
        check_same_run(flatten(tiny_config()), config, Path("run"), Console(quiet=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"biases": "all", "norm": "layer", "mlp": "gelu", "positions": "learned", "num_kv_heads": 4},
        {"head_norm": "heads", "norm_places": "both", "tie_embeddings": False},
        {"embedding_width": 16},
    ],
)
def test_muon_takes_all_maps_of_layers_with_their_true_inputs_and_nothing_else(changes: Any) -> None:
    model = dataclasses.replace(MODEL, **changes)
    numbers = muon_dimension_numbers(decoder.abstract_params(model))
    found = dict(
        nnx.to_flat_state(nnx.eval_shape(lambda: nnx.state(decoder.Decoder(model, RULES, rngs=nnx.Rngs(0)))))
    )
    maps = 0
    for path, param in found.items():
        inputs = param.get_metadata().get("num_inputs") if path[0] == "layers" else None
        ours = numbers
        for name in path:
            ours = ours[name]
        assert (ours is None) == (inputs is None), path
        if inputs is not None:
            maps += 1
            axes = tuple(range(1, len(param.get_value().shape)))
            assert ours == (axes[:inputs], axes[inputs:]), path
    assert maps >= 6


def test_what_is_factored_lies_as_its_parameter_does() -> None:
    query, spec = (2, 128, 4, 48), PartitionSpec(None, "fsdp", "tensor", None)
    assert spec_beside(query, query, spec) == spec
    assert spec_beside((2, 128), query, spec) == PartitionSpec(None, "fsdp")
    assert spec_beside((2, 192), query, spec) == PartitionSpec(None, "tensor")
    assert spec_beside((2, 128, 192), query, spec) == PartitionSpec(None, "fsdp", "tensor")
    output, spec = (2, 4, 48, 128), PartitionSpec(None, "tensor", None, "fsdp")
    assert spec_beside((2, 192), output, spec) == PartitionSpec(None, "tensor")
    assert spec_beside((2, 128), output, spec) == PartitionSpec(None, "fsdp")
    assert spec_beside((1,), output, spec) == PartitionSpec()
    assert spec_beside((320,), (320, 32), PartitionSpec("tensor", "fsdp")) == PartitionSpec("tensor")
    # Split in the second of the axes that are merged: whole.
    assert spec_beside((192,), (4, 48), PartitionSpec(None, "tensor")) == PartitionSpec(None)


def test_sharded_states_compute_what_whole_ones_do_and_have_the_bytes_that_are_told() -> None:
    output = run_on_devices("tests.training.check_sharded_optimizers", devices=8)
    assert output.count("equal") == len(OTHERS)


def test_a_run_tells_the_bytes_of_its_optimizer_before_it_trains(
    tmp_path: Path,
) -> None:
    config = tiny_config()
    config.optimizer = OptimizerConfig(name="schedule_free_adamw", schedule="constant", learning_rate=1e-3)
    config.train.steps, config.eval.every = 2, 0
    console = Console(file=io.StringIO(), width=200)
    train(config, tmp_path, console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    size = 2 * 4 * counts.num_params(config.model) + 6 * 4  # z, second moments, and six numbers
    assert f"optimiser schedule_free_adamw: {as_bytes(size)} of state on a device" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer.name": "adam"}, r"optimizer\.name='adam' is not one of adamw, .*; did you mean adamw"),
        (
            {"optimizer.name": "adafactor", "optimizer.beta2": 0.9},
            r"optimizer\.beta2=0\.9 has no effect: it needs optimizer\.name=adamw or .*, not "
            r"optimizer\.name=adafactor; set it to none",
        ),
        ({"optimizer.name": "lion", "optimizer.eps": 1e-6}, r"optimizer\.eps=1e-06 has no effect"),
        (
            {"optimizer.name": "schedule_free_adamw", "optimizer.schedule": "linear"},
            r"optimizer\.schedule=linear takes the rate down.*set optimizer\.schedule=constant",
        ),
        (
            {
                "optimizer.name": "schedule_free_adamw",
                "optimizer.schedule": "constant",
                "optimizer.beta1": 0.0,
            },
            r"optimizer\.beta1=0\.0 must be above 0",
        ),
        (
            {
                "optimizer.name": "schedule_free_adamw",
                "optimizer.schedule": "constant",
                "model.param_dtype": "bfloat16",
            },
            r"model\.param_dtype=bfloat16 would round the mean.*set model\.param_dtype=float32",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validation.check(with_overrides(tiny_config(), changes))
