"""A very small run for tests: the shipped debug configuration, shrunk."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import cpu_debug
from im_jax.batch import Batch
from im_jax.config import ClassWeights, Config, LoraConfig, LossConfig
from im_jax.losses.policy import LossPolicy, make_policy
from im_jax.models import decoder
from im_jax.models.adapters import lora
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import NUM_CLASSES, TokenClass
from im_jax.training import state as states
from im_jax.training import step as steps
from im_jax.training.partition import Frozen, split
from im_jax.training.step import StepMetrics, TrainStep
from im_jax.training.told import Told

LENGTH = 48
"""Tokens in a row of the random batches below."""


def tiny_config(**model: Any) -> Config:
    """`configs/cpu_debug.py` with a model of two layers, few examples and six steps."""
    config = cpu_debug.get_config()
    sizes: dict[str, Any] = {"num_layers": 2, "embed_dim": 32, "mlp_dim": 64, "vocab_size": 320}
    config.model = dataclasses.replace(config.model, **(sizes | model))
    config.data = dataclasses.replace(config.data, num_generated=64)
    config.train = dataclasses.replace(config.train, steps=6, batch_size=4)
    config.eval = dataclasses.replace(config.eval, num_examples=8, every=0)
    config.checkpoint = dataclasses.replace(config.checkpoint, every=2)
    config.log = dataclasses.replace(config.log, every=1)
    return config


def random_examples(seed: int, count: int) -> list[Batch]:
    """Examples of a few random tokens and classes, as rows `[T]` without padding."""
    rng = np.random.default_rng(seed)
    examples = []
    for size in rng.integers(3, LENGTH // 2, count):
        classes = rng.integers(1, NUM_CLASSES, size).astype(np.uint8)
        classes[-1] = TokenClass.LAST_STOP
        examples.append(
            Batch(
                tokens=rng.integers(1, 320, size).astype(np.int32),
                classes=classes,
                segments=np.ones(size, np.int32),
                positions=np.arange(size, dtype=np.int32),
                message_weights=rng.choice([0.5, 1.0], size).astype(np.float32),
            )
        )
    return examples


def rows_of(examples: list[Batch], rows: list[list[int]], length: int = LENGTH) -> Batch:
    """Examples laid out in the given rows, padded to `length`."""
    out = Batch(
        *(
            np.zeros((len(rows), length), dtype)
            for dtype in (np.int32, np.uint8, np.int32, np.int32, np.float32)
        )
    )
    for r, members in enumerate(rows):
        end = 0
        for segment, member in enumerate(members, start=1):
            example = examples[member]
            at = slice(end, end + len(example.tokens))
            for target, values in zip(out, example, strict=True):
                target[r, at] = values
            out.segments[r, at] = segment
            end = at.stop
    return out


MODEL = tiny_config().model
ADAPTED = dataclasses.replace(MODEL, lora=LoraConfig(rank=2, alpha=4.0))


def gradient_of(batch: Batch, policy: str, reduction: str, accumulate: int = 1) -> tuple[StepMetrics, Any]:
    """Metrics of an optimiser step of MODEL, and the gradient that reached the optimiser.

    User tokens weigh 0.3, so that every reduction has something to tell apart.
    """
    loss = _loss(policy, reduction)
    step = _compiled_step(reduction, accumulate)
    after, metrics = step(_fresh_state(), Frozen({}), batch, told_of(make_policy(loss)))
    return jax.device_get((metrics, after.opt_state))


def told_of(policy: LossPolicy) -> Told:
    """What a step is told where weights are a policy's and nothing else changes."""
    return Told(jnp.asarray(policy.table()), jax.random.key(0), {})


def _loss(policy: str, reduction: str) -> LossConfig:
    return LossConfig(policy=policy, reduction=reduction, weights=ClassWeights(user=0.3))


@functools.cache
def _compiled_step(reduction: str, accumulate: int) -> TrainStep:
    """For every policy."""
    loss = _loss("im", reduction)
    step = steps.make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=accumulate, rules=ShardingRules())
    return jax.jit(step)


@functools.cache
def fresh_params() -> decoder.Params:
    """Random parameters of MODEL, always the same."""
    return jax.jit(lambda key: decoder.init_params(MODEL, key))(jax.random.key(0))


@functools.cache
def _fresh_state() -> states.TrainState:
    return states.new_state(fresh_params(), KEEP_GRADIENT)


def adapted_params() -> tuple[decoder.Params, decoder.Params]:
    """Parameters of ADAPTED: adapters that change something, and the rest."""
    params = jax.jit(lambda key: decoder.init_params(ADAPTED, key))(jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: (
            jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32)
            if jax.tree_util.keystr(path, simple=True).endswith(lora.B)
            else x
        ),
        params,
    )
    return split(params, lora.is_adapter)


KEEP_GRADIENT = optax.GradientTransformation(
    init=optax.tree.zeros_like,
    update=lambda gradient, _, params: (optax.tree.zeros_like(params), gradient),
)
"""An optimiser that changes nothing and keeps the gradient as its state."""
