"""The KL loss against a float64 NumPy reference: values, gradients, masking, memory."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.losses.blockwise import ACCELERATOR
from im_jax.losses.kl import KL, Rows, linear_kl
from im_jax.losses.sharded import LossAxes, weighted_loss
from tests.losses.test_cross_entropy import relative_error

OPTIONS = [
    {},
    {"softcap": 5.0, "base_softcap": 3.0},
    {"direction": "forward"},
    {"direction": "forward", "softcap": 5.0, "base_softcap": 3.0},
]
NAMES = ("loss", "token_kl", "d_hidden", "d_head")


def log_softmax(hidden, head, softcap):
    logits = np.asarray(hidden, np.float64) @ np.asarray(head, np.float64)
    if softcap is not None:
        logits = softcap * np.tanh(logits / softcap)
    top = logits.max(-1, keepdims=True)
    return logits, logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def reference(
    hidden, head, base_hidden, base_head, weights, softcap=None, base_softcap=None, direction="reverse"
):
    """Loss, KL of each token and both gradients of the formula in the docstring, by hand, in float64."""
    logits, log_p = log_softmax(hidden, head, softcap)
    log_q = log_softmax(base_hidden, base_head, base_softcap)[1]
    p, q = np.exp(log_p), np.exp(log_q)
    if direction == "reverse":
        kl = (p * (log_p - log_q)).sum(-1)
        gradient = p * (log_p - log_q - kl[:, None])
    else:
        kl = (q * (log_q - log_p)).sum(-1)
        gradient = p - q
    gradient *= np.asarray(weights, np.float64)[:, None]
    if softcap is not None:
        gradient *= 1 - (logits / softcap) ** 2
    d_hidden = gradient @ np.asarray(head, np.float64).T
    d_head = np.asarray(hidden, np.float64).T @ gradient
    return (weights * kl).sum(), np.where(weights > 0, kl, 0), d_hidden, d_head


def inputs(seed=0, n=37, d=19, e=12, v=101, dtype=jnp.float32, scale=1.0):
    """The models differ in size, and the weights are fractional, and 0 for four in ten."""
    rng = np.random.default_rng(seed)

    def model(size):
        head = rng.normal(size=(size, v)) / np.sqrt(size)
        return jnp.asarray(scale * rng.normal(size=(n, size)), dtype), jnp.asarray(head, dtype)

    weights = (rng.random(n) * (rng.random(n) < 0.6)).astype(np.float32)
    return *model(d), *model(e), weights


@functools.partial(jax.jit, static_argnames=("softcap", "base_softcap", "direction"))
def value_and_gradients(hidden, head, base_hidden, base_head, weights, **options):
    def loss(hidden, head):
        return linear_kl(hidden, head, base_hidden, base_head, weights, **options)

    (value, token_kl), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(hidden, head)
    return value, token_kl, *gradients


# With logits of 100 their own rounding in float32 is of the size of the tolerance.
@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 2e-6), (30.0, 5e-6)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_and_gradients_equal_float64(options, scale, tolerance):
    args = inputs(scale=scale)
    found, expected = value_and_gradients(*args, **options), reference(*args, **options)
    for name, a, b in zip(NAMES, found, expected, strict=True):
        assert relative_error(a, b) < tolerance, name


def test_a_small_divergence_has_the_error_of_a_log_partition_and_gradients_of_their_own_size():
    *args, weights = inputs(scale=1e-3)
    found, expected = value_and_gradients(*args, weights), reference(*args, weights)
    assert 0 < expected[1].max() < 1e-4
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6 * weights.sum())
    assert relative_error(found[2], expected[2]) < 2e-6 and relative_error(found[3], expected[3]) < 2e-6


def test_sizes_that_divide_by_nothing_equal_float64():
    args = inputs(n=252, d=123, e=77, v=507)
    for name, a, b in zip(NAMES, value_and_gradients(*args), reference(*args), strict=True):
        assert relative_error(a, b) < 2e-6, name


def test_bfloat16_inputs_accumulate_in_float32():
    args = inputs(n=252, d=123, e=77, v=507, dtype=jnp.bfloat16)
    found, expected = value_and_gradients(*args), reference(*args)
    assert [x.dtype for x in found] == [jnp.float32, jnp.float32, jnp.bfloat16, jnp.bfloat16]
    for tolerance, a, b in zip((1e-5, 1e-5, 4e-3, 4e-3), found, expected, strict=True):
        assert relative_error(a, b) < tolerance


def test_float32_heads_of_bfloat16_hidden_states_keep_their_type():
    args = inputs(dtype=jnp.bfloat16)
    hidden, head, base_hidden, base_head, weights = args
    found = value_and_gradients(
        hidden,
        head.astype(jnp.float32),
        base_hidden.astype(jnp.float32),
        base_head.astype(jnp.float32),
        weights,
    )
    assert found[3].dtype == jnp.float32
    for tolerance, a, b in zip((1e-5, 1e-5, 4e-3, 4e-3), found, reference(*args), strict=True):
        assert relative_error(a, b) < tolerance


@pytest.mark.parametrize("v", [50257, 256128])
def test_vocabularies_of_models_equal_float64(v):
    args = inputs(n=5, d=6, e=4, v=v)
    for name, a, b in zip(NAMES, value_and_gradients(*args), reference(*args), strict=True):
        assert relative_error(a, b) < 2e-6, name


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_model_does_not_differ_from_itself(dtype, scale):
    hidden, head, *_, weights = inputs(dtype=dtype, scale=scale)
    loss, token_kl, d_hidden, d_head = value_and_gradients(hidden, head, hidden, head, weights, softcap=None)
    assert np.abs(token_kl).max() <= 1e-6 and abs(loss) <= 1e-6
    assert np.abs(d_hidden.astype(jnp.float32)).max() <= 1e-6
    assert np.abs(d_head.astype(jnp.float32)).max() <= 1e-6 * scale


def test_probabilities_that_underflow_are_no_nan():
    """With logits of +-1e4 nearly every p and q is 0 in float32, and log 0 - log 0 would be NaN."""
    hidden, head, base_hidden, base_head, weights = inputs()
    args = (
        1e4 * jnp.sign(hidden) / 19,
        jnp.sign(head),
        1e4 * jnp.sign(base_hidden) / 12,
        jnp.sign(base_head),
        weights,
    )
    found, expected = value_and_gradients(*args), reference(*args)
    assert expected[0] > 1e3
    for name, a, b in zip(NAMES, found, expected, strict=True):
        assert relative_error(a, b) < 1e-5, name


def test_masked_rows_have_no_influence_whatever_they_hold():
    hidden, head, base_hidden, base_head, weights = inputs()
    clean = value_and_gradients(hidden, head, base_hidden, base_head, weights)
    masked = np.flatnonzero(weights == 0)
    for poison in (np.nan, np.inf, -np.inf):
        bad = hidden.at[masked].set(poison), head, base_hidden.at[masked].set(poison), base_head, weights
        for a, b in zip(clean, value_and_gradients(*bad), strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_masked_gives_exactly_zero():
    *models, weights = inputs()
    for value in value_and_gradients(*models, np.zeros_like(weights)):
        assert not np.any(value)


def test_every_number_of_active_rows_equals_float64_by_one_program():
    total, block = 29, 8
    *models, _ = inputs(n=total)
    plan = ACCELERATOR._replace(sizes=(block,))

    @jax.jit
    def run(hidden, head, base_hidden, base_head, weights):
        def loss(hidden, head):
            rows = Rows(base_hidden, weights)
            return weighted_loss(
                KL(None, None), hidden, head, weights, rows, (base_head,), axes=LossAxes(), plan=plan
            )

        (value, values), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(hidden, head)
        return value, values.kl, *gradients

    for n in (0, 1, block - 1, block, block + 1, total):
        weights = np.zeros(total, np.float32)
        weights[np.random.default_rng(n).permutation(total)[:n]] = 0.7
        for name, a, b in zip(NAMES, run(*models, weights), reference(*models, weights), strict=True):
            assert relative_error(a, b) < 2e-6, (n, name)
    assert run._cache_size() == 1


def test_the_base_is_data_and_token_values_carry_no_gradient():
    hidden, head, base_hidden, base_head, weights = inputs()

    @functools.partial(jax.grad, argnums=(0, 1, 2, 3), has_aux=True)
    def gradients(hidden, head, base_hidden, base_head):
        loss, token_kl = linear_kl(hidden, head, base_hidden, base_head, jnp.asarray(weights))
        return loss + token_kl.sum(), None

    found, _ = jax.jit(gradients)(hidden, head, base_hidden, base_head)
    expected = reference(hidden, head, base_hidden, base_head, weights)
    assert relative_error(found[0], expected[2]) < 2e-6 and relative_error(found[1], expected[3]) < 2e-6
    assert not np.any(found[2]) and not np.any(found[3])


def test_the_compiled_program_holds_no_logits_of_all_tokens():
    n, v = 4096, 1000
    args = jnp.ones((n, 16)), jnp.ones((16, v)), jnp.ones((n, 8)), jnp.ones((8, v)), jnp.ones(n)
    compiled = value_and_gradients.lower(*args).compile()
    assert not re.findall(rf"\[{n},{v}\]|\[{v},{n}\]", compiled.as_text())
    assert compiled.memory_analysis().temp_size_in_bytes < n * v * 4 / 2


def test_what_cannot_be_compared_is_refused():
    hidden, head, base_hidden, base_head, weights = inputs()
    with pytest.raises(ValueError, match=r"base_softcap must be above 0 or None, got 0\.0"):
        value_and_gradients(hidden, head, base_hidden, base_head, weights, base_softcap=0.0)
    with pytest.raises(ValueError, match=r"vocabulary of 99 and head one of 101"):
        linear_kl.__wrapped__(hidden, head, base_hidden, base_head[:, :99], weights)
