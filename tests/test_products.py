"""Forms of products by what the processor has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax import hardware, products
from im_jax.losses.cross_entropy import linear_cross_entropy
from tests.jaxpr import equations

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="about processors")


@pytest.fixture(params=["with bfloat16 instructions", "without"])
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor is said to have instructions for bfloat16."""
    has = request.param != "without"
    flags = frozenset({"avx2", "avx512_bf16"} if has else {"avx2"})
    monkeypatch.setattr(hardware, "instructions", lambda: flags)
    return has


def loss(hidden: jax.Array, head: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    return linear_cross_entropy(hidden, head, labels, weights)[0]


def example(dtype: str) -> tuple[jax.Array, ...]:
    random = np.random.default_rng(0)
    hidden, head = random.normal(size=(90, 24)), random.normal(size=(24, 211)) * 0.3
    weights = np.where(random.random(90) < 0.6, 1 / 54, 0)
    labels = random.integers(0, 211, 90)
    return (
        jnp.asarray(hidden, dtype),
        jnp.asarray(head, dtype),
        jnp.asarray(labels),
        jnp.asarray(weights, jnp.float32),
    )


def test_types_are_widened_where_the_processor_has_no_instructions_for_them(instructions: bool) -> None:
    kept = "bfloat16" if instructions else "float32"
    assert products.multiplied_type(jnp.dtype("bfloat16")) == kept
    assert products.multiplied_type(jnp.dtype("float16")) == "float32"
    assert products.multiplied_type(jnp.dtype("float32")) == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_loss_and_its_gradients_are_those_of_float64(instructions: bool, dtype: str) -> None:
    hidden, head, labels, weights = example(dtype)
    value, (d_hidden, d_head) = jax.value_and_grad(loss, argnums=(0, 1))(hidden, head, labels, weights)
    assert d_hidden.dtype == hidden.dtype and d_head.dtype == head.dtype

    wide_hidden, wide_head = np.asarray(hidden, np.float64), np.asarray(head, np.float64)
    logits = wide_hidden @ wide_head
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    hot = np.eye(211)[np.asarray(labels)]
    d_logits = (np.exp(log_p) - hot) * np.asarray(weights, np.float64)[:, None]
    assert float(value) == pytest.approx(-np.sum((log_p * hot).sum(1) * np.asarray(weights)), rel=1e-5)
    for found, expected in ((d_hidden, d_logits @ wide_head.T), (d_head, wide_hidden.T @ d_logits)):
        error = np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected)
        assert error < 4e-3


@pytest.mark.parametrize("instructions", ["without"], indirect=True)
def test_without_instructions_the_head_is_widened_once_and_not_for_every_block(instructions: bool) -> None:
    assert not instructions
    jaxpr = jax.make_jaxpr(jax.value_and_grad(loss, argnums=(0, 1)))(*example("bfloat16")).jaxpr
    multiplied = {
        operand.aval.dtype.name
        for equation, _ in equations(jaxpr)
        if equation.primitive.name == "dot_general"
        for operand in equation.invars
    }
    assert multiplied == {"float32"}
    widened = [
        equation
        for equation, _ in equations(jaxpr)
        if equation.primitive.name == "convert_element_type"
        and equation.invars[0].aval.shape == (24, 211)
        and equation.outvars[0].aval.dtype == jnp.float32
    ]
    assert len(widened) == 1


def test_a_system_that_lists_no_instructions_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: False)
    assert hardware.instructions.__wrapped__() == frozenset()
    assert hardware.processor()
