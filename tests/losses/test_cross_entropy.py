"""The loss against a float64 NumPy reference: values, gradients, masking, memory, and what it composes with."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.batch import Batch
from im_jax.config import LossConfig
from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.policy import make_policy
from im_jax.losses.weighting import normalise, target_weights
from im_jax.token_classes import TokenClass

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
    # Fractional, and 0 for four in ten.
    weights = (rng.random(n) * (rng.random(n) < 0.6)).astype(np.float32)
    return hidden, head, labels, weights


@functools.partial(jax.jit, static_argnames=("softcap", "z_loss", "label_smoothing", "implementation"))
def value_and_gradients(hidden, head, labels, weights, **options):
    def loss(hidden, head):
        return linear_cross_entropy(hidden, head, labels, weights, **options)

    (value, token_losses), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(hidden, head)
    return value, token_losses, *gradients


def loss_of(hidden, head, labels, weights):
    return linear_cross_entropy(hidden, head, jnp.asarray(labels), jnp.asarray(weights))[0]


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

    assert not np.any(jax.jit(jax.grad(total))(hidden))


def test_changing_the_mask_does_not_recompile():
    hidden, head, labels, _ = inputs(n=600, d=8, v=31)
    traces = []

    @jax.jit
    def gradients(weights):
        traces.append(1)
        return jax.grad(loss_of, argnums=(0, 1))(hidden, head, labels, weights)

    for active in (0, 1, 22, 140, 599, 600):  # of which each has another best block size
        weights = np.where(np.arange(600) < active, 0.5, 0).astype(np.float32)
        expected = reference(hidden, head, labels, weights)[2:]
        for a, b in zip(gradients(jnp.asarray(weights)), expected, strict=True):
            assert relative_error(a, b) < 2e-6
    assert len(traces) == gradients._cache_size() == 1


@pytest.mark.parametrize(
    "options", [{"softcap": 0.0}, {"label_smoothing": 1.0}, {"implementation": "fastest"}], ids=str
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        value_and_gradients(*inputs(), **options)


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]], ids=str)
def test_sizes_that_divide_by_nothing_equal_float64(options):
    args = inputs(n=252, d=123, v=507)
    found, expected = value_and_gradients(*args, **options), reference(*args, **options)
    for name, a, b in zip(("loss", "token_losses", "d_hidden", "d_head"), found, expected, strict=True):
        assert relative_error(a, b) < 2e-6, name


def test_sizes_that_divide_by_nothing_equal_float64_in_bfloat16():
    args = inputs(n=252, d=123, v=507, dtype=jnp.bfloat16)
    found, expected = value_and_gradients(*args), reference(*args)
    assert found[2].dtype == found[3].dtype == jnp.bfloat16
    for tolerance, a, b in zip((1e-5, 1e-5, 4e-3, 4e-3), found, expected, strict=True):
        assert relative_error(a, b) < tolerance


@pytest.mark.parametrize("v", [32000, 50257, 128256, 256128])
def test_vocabularies_of_models_equal_float64(v):
    """With small logits as well: there a column too many is as large as a real one."""
    for scale in (1.0, 1e-4):
        hidden, head, labels, weights = inputs(n=5, d=6, v=v, scale=scale)
        labels[:2], weights[:2] = (0, v - 1), 1.0
        found = value_and_gradients(hidden, head, labels, weights)
        for a, b in zip(found, reference(hidden, head, labels, weights), strict=True):
            assert relative_error(a, b) < 2e-6


def test_very_negative_logits_under_a_softcap():
    hidden, head = -1e3 * jnp.ones((3, 4)), jnp.ones((4, 97)).at[:, 5].set(0.5)
    found = value_and_gradients(
        hidden, head, np.array([0, 5, 96], np.int32), np.ones(3, np.float32), softcap=30.0
    )
    # All logits are -30 to the last bit: uniform, and flat under the cap.
    np.testing.assert_allclose(found[1], np.log(97), rtol=1e-6)
    assert not np.any(found[2]) and not np.any(found[3])


@pytest.mark.parametrize("sign", [1, -1])
def test_logits_of_ten_thousand(sign):
    hidden, head, labels, weights = inputs()
    args = sign * 1e4 * jnp.sign(hidden) / hidden.shape[1], jnp.sign(head).at[:, 3].set(1.0), labels, weights
    found, expected = value_and_gradients(*args), reference(*args)
    assert np.abs(np.asarray(args[0] @ args[1])).max() > 5e3
    for name, a, b in zip(("loss", "token_losses", "d_hidden", "d_head"), found, expected, strict=True):
        assert relative_error(a, b) < 1e-5, name


def test_im_equals_it_bit_for_bit_where_all_tokens_are_outputs():
    """On such data the policies differ in nothing but their name; elsewhere they do differ."""
    rows, length = 4, 10
    hidden, head, labels, _ = inputs(n=rows * length)
    classes = np.full((rows, length), TokenClass.ASSISTANT, np.uint8)
    zeros = np.zeros((rows, length), np.int32)
    found = {}
    for data, row_classes in (
        ("outputs", classes),
        ("both", np.where(np.arange(length) < 5, TokenClass.USER, classes)),
    ):
        batch = Batch(zeros, row_classes.astype(np.uint8), zeros + 1, zeros, np.ones(zeros.shape, np.float32))
        batch = jax.tree.map(jnp.asarray, batch)
        for name in ("im", "it"):
            policy = make_policy(LossConfig(policy=name))
            weights = normalise(target_weights(batch, policy.table()), batch.segments, "token_mean")
            found[data, name] = value_and_gradients(hidden, head, labels, weights.reshape(-1))
    for a, b in zip(found["outputs", "im"], found["outputs", "it"], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found["both", "im"][0] != found["both", "it"][0]


def test_one_token_of_weight_two_is_that_token_twice():
    hidden, head, labels, weights = inputs()
    weights[4] = 1.0
    again = np.append(np.arange(len(labels)), 4)
    twice = value_and_gradients(hidden[again], head, labels[again], weights[again])
    weights[4] = 2.0
    once = value_and_gradients(hidden, head, labels, weights)
    np.testing.assert_allclose(once[0], twice[0], rtol=1e-6)
    np.testing.assert_allclose(once[2][4], 2 * twice[2][4], rtol=1e-6, atol=1e-7)
    assert relative_error(once[3], np.asarray(twice[3], np.float64)) < 1e-6


def test_loss_and_gradients_are_linear_in_weights_of_different_masks():
    hidden, head, labels, one = inputs()
    other = np.random.default_rng(1).permutation(one)
    assert np.any((one > 0) != (other > 0))
    both = value_and_gradients(hidden, head, labels, 0.25 * one + 3 * other)
    parts = [value_and_gradients(hidden, head, labels, w) for w in (one, other)]
    for i in (0, 2, 3):
        expected = 0.25 * np.asarray(parts[0][i], np.float64) + 3 * np.asarray(parts[1][i], np.float64)
        assert relative_error(both[i], expected) < 1e-6


def test_permuting_tokens_permutes_the_gradient_of_hidden_and_nothing_else():
    hidden, head, labels, weights = inputs()
    order = np.random.default_rng(2).permutation(len(labels))
    plain = value_and_gradients(hidden, head, labels, weights)
    permuted = value_and_gradients(hidden[order], head, labels[order], weights[order])
    np.testing.assert_allclose(permuted[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(permuted[1], plain[1][order], rtol=1e-6)
    np.testing.assert_allclose(permuted[2], plain[2][order], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(permuted[3], plain[3], rtol=1e-5, atol=1e-6)


def test_permuting_the_vocabulary_permutes_the_gradient_of_the_head_and_nothing_else():
    hidden, head, labels, weights = inputs()
    order = np.random.default_rng(3).permutation(head.shape[1])
    plain = value_and_gradients(hidden, head, labels, weights)
    permuted = value_and_gradients(
        hidden, head[:, order], np.argsort(order)[labels].astype(np.int32), weights
    )
    np.testing.assert_allclose(permuted[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(permuted[1], plain[1], rtol=1e-5)
    np.testing.assert_allclose(permuted[2], plain[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(permuted[3], plain[3][:, order], rtol=1e-5, atol=1e-6)


def test_runs_are_bit_identical():
    args = inputs(n=252, d=123, v=507)
    first, again = value_and_gradients(*args), value_and_gradients(*args)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_compiled_program_holds_no_logits_of_all_tokens():
    n, v = 4096, 1000
    args = jnp.ones((n, 16)), jnp.ones((16, v)), jnp.zeros(n, jnp.int32), jnp.ones(n)
    temporary, arrays = {}, {}
    for implementation in ("auto", "full_logits"):
        compiled = value_and_gradients.lower(*args, implementation=implementation).compile()
        temporary[implementation] = compiled.memory_analysis().temp_size_in_bytes
        arrays[implementation] = len(re.findall(rf"\[{n},{v}\]|\[{v},{n}\]", compiled.as_text()))
    assert arrays["auto"] == 0 < arrays["full_logits"]
    assert temporary["auto"] < n * v * 4 / 4 < temporary["full_logits"]


def test_a_frozen_head_or_hidden_state_costs_no_product():
    args = inputs(n=150)  # a loop for each of several block sizes
    expected = reference(*args)

    def compiled(wanted):
        return jax.jit(jax.grad(loss_of, argnums=wanted) if wanted else loss_of).lower(*args).compile()

    loops = compiled(()).as_text().count(" dot(")
    assert loops > 1
    for wanted in [(0, 1), (0,), (1,)]:
        program = compiled(wanted)
        assert program.as_text().count(" dot(") == (1 + len(wanted)) * loops
        for which, gradient in zip(wanted, program(*args), strict=True):
            assert relative_error(gradient, expected[2 + which]) < 2e-6


def test_a_float32_head_of_bfloat16_hidden_states_keeps_its_type():
    hidden, head, labels, weights = inputs(dtype=jnp.bfloat16)
    found = value_and_gradients(hidden, head.astype(jnp.float32), labels, weights)
    expected = reference(hidden, head, labels, weights)
    assert [x.dtype for x in found] == [jnp.float32, jnp.float32, jnp.bfloat16, jnp.float32]
    for tolerance, a, b in zip((1e-5, 1e-5, 4e-3, 4e-3), found, expected, strict=True):
        assert relative_error(a, b) < tolerance


def test_gradients_of_a_function_of_the_loss_follow_the_chain_rule():
    hidden, head, labels, weights = inputs()

    def function(hidden, head):
        return jnp.sin(2 * loss_of(hidden, head, labels, weights)) + jnp.sum(head)

    loss, _, d_hidden, d_head = reference(hidden, head, labels, weights)
    slope = 2 * np.cos(2 * loss)
    found = jax.grad(function, argnums=(0, 1))(hidden, head)
    # The sine of a large angle loses the bits that the loss has before the point.
    assert relative_error(found[0], slope * d_hidden) < 1e-4
    assert relative_error(found[1], slope * d_head + 1) < 1e-4


@pytest.mark.parametrize("remat", [False, True])
def test_accumulation_in_a_scan_equals_one_batch(remat):
    hidden, head, labels, weights = inputs(n=48)
    weights[12:24] = 0  # a micro-batch without loss
    loss = jax.checkpoint(loss_of) if remat else loss_of

    @jax.jit
    def accumulate(hidden, head, labels, weights):
        def step(total, micro):
            x, y, w = micro
            value, (d_hidden, d_head) = jax.value_and_grad(loss, argnums=(0, 1))(x, head, y, w)
            return (total[0] + value, total[1] + d_head), d_hidden

        micro = jax.tree.map(lambda x: x.reshape(4, -1, *x.shape[1:]), (hidden, labels, weights))
        (value, d_head), d_hidden = jax.lax.scan(step, (0.0, jnp.zeros_like(head)), micro)
        return value, d_hidden.reshape(hidden.shape), d_head

    expected = reference(hidden, head, labels, weights)
    found = accumulate(hidden, head, jnp.asarray(labels), jnp.asarray(weights))
    for a, b in zip(found, (expected[0], *expected[2:]), strict=True):
        assert relative_error(a, b) < 2e-6


def test_tied_embeddings_get_the_gradient_of_both_uses():
    _, head, labels, weights = inputs()
    embedding, tokens = head.T, np.roll(labels, 1)

    @jax.jit
    @jax.grad
    def gradient(embedding):
        return loss_of(jnp.tanh(embedding[tokens]), embedding.T, labels, weights)

    hidden = np.tanh(np.asarray(embedding, np.float64)[tokens])
    _, _, d_hidden, d_head = reference(hidden, head, labels, weights)
    expected = d_head.T.copy()
    np.add.at(expected, tokens, d_hidden * (1 - hidden**2))
    assert relative_error(gradient(embedding), expected) < 2e-6
