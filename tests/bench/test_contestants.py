"""Contestants compute what they are said to: compared with float64, and with each other."""

import dataclasses
import functools
import importlib
from pathlib import Path

import jax
import numpy as np
import pytest

from im_jax.bench.case import Case
from im_jax.bench.contestant import CannotRun, Values, difference
from im_jax.bench.contestants import small_llama, train_step_im_jax
from im_jax.bench.contestants.small_llama import model_config, optimizer_config
from im_jax.bench.methods import CONDITIONS, REFERENCES, Method, default_methods, find_method
from im_jax.config import LossConfig
from im_jax.losses.policy import make_policy
from im_jax.models.decoder import init_params
from im_jax.models.sharding import ShardingRules
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.partition import Frozen
from im_jax.training.state import TrainState, new_state
from im_jax.training.step import make_train_step
from tests.training.tiny import told_of

CROSS_ENTROPY = Case("cross_entropy", (48, 16, 77), "float32", active=0.3)
ATTENTION = Case("attention", (2, 24, 2, 8), "float32", examples=3)
TRAIN = Case("train_step", (2, 16), "float32", active=0.2, model=(64, 16, 2, 2, 1, 32))


def values_of(case: Case, method: Method, calls: int = 1) -> Values:
    module = importlib.import_module(f"im_jax.bench.contestants.{method.module}")
    contestant = module.make(case, method.variant)
    for _ in range(calls):
        contestant.call()
    return contestant.values()


@functools.cache
def expected(case: Case) -> Values:
    return values_of(case, REFERENCES[case.benchmark], calls=0)


def check(case: Case, name: str, tolerance: float) -> None:
    method, _ = find_method(case.benchmark, name)
    for package in method.packages:
        pytest.importorskip(package, reason=f"{package} is not installed; it is in the extra peers")
    found = difference(values_of(case, method), expected(case))
    assert found and max(found.values()) < tolerance, found


@pytest.mark.parametrize(
    "name",
    ["im_jax", "im_jax_full_logits", "optax", "scan_recompute", "tokamax:xla", "torch", "torch_compact"],
)
def test_cross_entropy_is_that_of_float64(name: str) -> None:
    check(CROSS_ENTROPY, name, 1e-5)


@pytest.mark.parametrize("name", ["im_jax", "optax_cast", "torch"])
def test_cross_entropy_in_bfloat16_is_that_of_float64(name: str) -> None:
    check(dataclasses.replace(CROSS_ENTROPY, dtype="bfloat16"), name, 1e-2)


@pytest.mark.parametrize("name", ["im_jax", "im_jax:full", "dot_product_attention", "torch_sdpa"])
def test_attention_is_that_of_float64(name: str) -> None:
    check(ATTENTION, name, 1e-5)


@pytest.fixture(scope="module")
def train_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = dataclasses.replace(TRAIN, checkpoint=str(tmp_path_factory.mktemp("weights")))
    facts = small_llama.make(case, "").values()
    # Embedding and head, and of each layer: queries, output, keys, values, feed-forward, norms; a norm.
    assert facts["parameters"] == 2 * 64 * 16 + 2 * (2 * 256 + 2 * 128 + 3 * 512 + 2 * 16) + 16
    return case


@functools.cache
def our_losses(case: Case) -> list[float]:
    return values_of(case, find_method("train_step", "im_jax")[0], calls=3)["losses"]


@pytest.mark.parametrize("name", ["im_jax_optax", "transformers", "transformers_compact"])
def test_training_steps_have_the_same_losses(train_case: Case, name: str) -> None:
    method, _ = find_method("train_step", name)
    for package in method.packages:
        pytest.importorskip(package, reason=f"{package} is not installed; it is in the extra peers")
    ours = our_losses(train_case)
    np.testing.assert_allclose(values_of(train_case, method, calls=3)["losses"], ours, rtol=1e-4)
    assert ours[2] < ours[0]


@pytest.mark.parametrize("name", ["peft", "peft_compact"])
def test_steps_of_adapters_have_the_same_losses(train_case: Case, name: str) -> None:
    method, _ = find_method("lora", name)
    for package in method.packages:
        pytest.importorskip(package, reason=f"{package} is not installed; it is in the extra peers")
    case = dataclasses.replace(train_case, benchmark="lora", rank=3)
    ours = values_of(case, find_method("lora", "im_jax")[0], calls=3)["losses"]
    np.testing.assert_allclose(values_of(case, method, calls=3)["losses"], ours, rtol=1e-4)
    assert ours[2] < ours[0] and ours[1:] != our_losses(train_case)[1:]


def test_another_mask_does_not_compile_the_step_again() -> None:
    model, loss = model_config(TRAIN), LossConfig(policy="it")
    optimizer = make_optimizer(optimizer_config(), make_schedule(optimizer_config(), steps=1))
    step = make_train_step(model, loss, optimizer, accumulate=1, rules=ShardingRules())
    told = told_of(make_policy(loss))
    compiled: list[int] = []

    @functools.partial(jax.jit, donate_argnums=0)
    def traced(state: TrainState, batch: object) -> object:
        compiled.append(1)
        return step(state, Frozen({}), batch, told)

    state, losses = new_state(init_params(model, jax.random.key(0)), optimizer), set()
    for share in np.linspace(0.05, 1.0, 100):
        batch = train_step_im_jax.make_batch(dataclasses.replace(TRAIN, active=float(share)))
        state, metrics = traced(state, batch)
        losses.add(float(metrics.loss))
    assert len(compiled) == 1
    assert len(losses) == 100


def test_every_default_method_can_be_found() -> None:
    for benchmark in REFERENCES:
        for name in default_methods(benchmark):
            method, environment = find_method(benchmark, name)
            assert importlib.util.find_spec(f"im_jax.bench.contestants.{method.module}") is not None
            assert environment == CONDITIONS.get(name.rpartition(":")[2], {})


def test_what_is_the_same_program_is_not_timed_twice() -> None:
    with pytest.raises(CannotRun, match="same program as optax"):
        values_of(CROSS_ENTROPY, find_method("cross_entropy", "optax_cast")[0])


def test_weights_are_left_where_the_case_says(train_case: Case) -> None:
    assert {"config.json", "model.safetensors"} <= {
        path.name for path in Path(train_case.checkpoint).iterdir()
    }
