"""The loss against a float64 NumPy reference: values, gradients, masking."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.losses.cross_entropy import linear_cross_entropy

OPTIONS = [
    {},
    {"softcap": 5.0},
    {"z_loss": 1e-2},
    {"label_smoothing": 0.1},
    {"softcap": 5.0, "z_loss": 1e-2, "label_smoothing": 0.1},
]


def reference(hidden, head, labels, weights, softcap=None, z_loss=0.0, label_smoothing=0.0):
    """Loss, token losses and both gradients of the formula in the docstring, by hand, in float64."""
    hidden, head = np.asarray(hidden, np.float64), np.asarray(head, np.float64)
    raw = hidden @ head
    logits = raw if softcap is None else softcap * np.tanh(raw / softcap)
    top = logits.max(-1, keepdims=True)
    lse = (np.log(np.exp(logits - top).sum(-1, keepdims=True)) + top)[:, 0]
    rows, vocab = np.arange(len(labels)), logits.shape[1]
    nll = lse - logits[rows, labels]
    losses = (1 - label_smoothing) * nll + label_smoothing * (lse - logits.mean(-1)) + z_loss * lse**2
    probabilities = np.exp(logits - lse[:, None])
    gradient = probabilities * (1 + 2 * z_loss * lse)[:, None] - label_smoothing / vocab
    gradient[rows, labels] -= 1 - label_smoothing
    gradient *= np.asarray(weights, np.float64)[:, None]
    if softcap is not None:
        gradient *= 1 - (logits / softcap) ** 2
    loss = (weights * losses).sum()
    return loss, np.where(weights > 0, nll, 0), gradient @ head.T, hidden.T @ gradient


def inputs(seed=0, n=37, d=19, v=101, dtype=jnp.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(scale * rng.normal(size=(n, d)), dtype)
    head = jnp.asarray(rng.normal(size=(d, v)) / np.sqrt(d), dtype)
    labels = rng.integers(0, v, n).astype(np.int32)
    weights = (rng.random(n) * (rng.random(n) < 0.6)).astype(np.float32)
    return hidden, head, labels, weights


def value_and_gradients(hidden, head, labels, weights, **options):
    def loss(hidden, head):
        return linear_cross_entropy(hidden, head, jnp.asarray(labels), jnp.asarray(weights), **options)

    (value, token_losses), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(hidden, head)
    return value, token_losses, *gradients


def relative_error(found, expected):
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / max(np.linalg.norm(expected), 1e-30)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_and_gradients_equal_float64(options, scale):
    args = inputs(scale=scale)
    found, expected = value_and_gradients(*args, **options), reference(*args, **options)
    for name, a, b in zip(("loss", "token_losses", "d_hidden", "d_head"), found, expected, strict=True):
        assert relative_error(a, b) < 5e-6, name


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_bfloat16_inputs_accumulate_in_float32(options):
    args = inputs(dtype=jnp.bfloat16)
    found, expected = value_and_gradients(*args, **options), reference(*args, **options)
    assert relative_error(found[0], expected[0]) < 1e-5
    assert relative_error(found[2], expected[2]) < 4e-3
    assert relative_error(found[3], expected[3]) < 4e-3


def test_masked_rows_have_no_influence_whatever_they_hold():
    hidden, head, labels, weights = inputs()
    clean = value_and_gradients(hidden, head, labels, weights)
    masked = np.flatnonzero(weights == 0)
    for poison, label in [(np.nan, -100), (np.inf, 2**31 - 1), (-np.inf, -1), (np.nan, head.shape[1])]:
        bad_labels = labels.copy()
        bad_labels[masked] = label
        poisoned = value_and_gradients(hidden.at[masked].set(poison), head, bad_labels, weights)
        for a, b in zip(clean, poisoned, strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_masked_gives_exactly_zero():
    hidden, head, labels, weights = inputs()
    for value in value_and_gradients(hidden, head, labels, np.zeros_like(weights), z_loss=0.1):
        assert not np.any(value)


def test_loss_is_linear_in_the_weights_and_a_weight_of_two_is_a_duplicate():
    hidden, head, labels, weights = inputs()
    doubled = value_and_gradients(hidden, head, labels, 2 * weights)
    repeated = value_and_gradients(
        jnp.concatenate([hidden, hidden]), head, np.tile(labels, 2), np.tile(weights, 2)
    )
    np.testing.assert_allclose(doubled[0], repeated[0], rtol=1e-6)
    np.testing.assert_allclose(doubled[3], repeated[3], rtol=1e-5, atol=1e-7)


def test_token_losses_carry_no_gradient():
    hidden, head, labels, weights = inputs()

    def total(hidden):
        return linear_cross_entropy(hidden, head, jnp.asarray(labels), jnp.asarray(weights))[1].sum()

    assert not np.any(jax.grad(total)(hidden))


def test_changing_the_mask_does_not_recompile():
    hidden, head, labels, weights = inputs()
    traces = []

    @jax.jit
    def loss(weights):
        traces.append(1)
        return linear_cross_entropy(hidden, head, jnp.asarray(labels), weights)[0]

    for mask in (weights, np.ones_like(weights), np.zeros_like(weights)):
        loss(jnp.asarray(mask))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "options", [{"softcap": 0.0}, {"label_smoothing": 1.0}, {"implementation": "fastest"}], ids=str
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        value_and_gradients(*inputs(), **options)
