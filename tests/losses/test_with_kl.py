"""Cross-entropy with the divergence from a base, in one pass: the sum of the two, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.cross_entropy.with_kl import linear_cross_entropy_with_kl
from im_jax.losses.kl import linear_kl
from tests.losses import test_kl
from tests.losses.test_cross_entropy import relative_error


def inputs(**sizes: int) -> list[jax.Array]:
    return [jnp.asarray(each) for each in test_kl.inputs(**sizes)]


OPTIONS = [{}, {"softcap": 5.0}, {"z_loss": 0.01, "label_smoothing": 0.1}]


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_the_sum_of_both(options: dict[str, float], direction: str) -> None:
    hidden, head, base_hidden, base_head, weights = inputs()
    labels = jnp.asarray(np.random.default_rng(5).integers(0, head.shape[1], hidden.shape[0]))
    cap, coefficient = options.get("softcap"), 0.3

    def apart(hidden: jax.Array, head: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        loss, nll = linear_cross_entropy(hidden, head, labels, weights, **options)
        more, kl = linear_kl(
            hidden,
            head,
            base_hidden,
            base_head,
            weights,
            direction=direction,
            softcap=cap,
            base_softcap=cap,
        )
        return loss + coefficient * more, (nll, kl)

    def together(hidden: jax.Array, head: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        loss, *tokens = linear_cross_entropy_with_kl(
            hidden,
            head,
            labels,
            weights,
            base_hidden,
            base_head,
            jnp.float32(coefficient),
            direction=direction,
            **options,
        )
        return loss, tuple(tokens)

    expected, found = (
        jax.tree.leaves(jax.jit(jax.value_and_grad(f, argnums=(0, 1), has_aux=True))(hidden, head))
        for f in (apart, together)
    )
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 2e-6


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("coefficient", [0.1, 1.0])
def test_the_released_estimate_is_the_released_rule(coefficient: float, softcap: float | None) -> None:
    """Of each example the mean of -log p + c (log p - log q) over its labels, then the mean of examples."""
    hidden, head, base_hidden, base_head, _ = inputs(n=12)
    rng = np.random.default_rng(3)
    labels = rng.integers(0, head.shape[1], 12)
    examples = [(slice(0, 5), rng.random(5) < 0.6), (slice(5, 12), rng.random(7) < 0.6)]

    def log_softmax(hidden: jax.Array, head: jax.Array) -> np.ndarray:
        logits = np.asarray(hidden, np.float64) @ np.asarray(head, np.float64)
        logits = logits if softcap is None else softcap * np.tanh(logits / softcap)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def rule(hidden: jax.Array) -> float:
        own, base = (
            log_softmax(*of)[np.arange(12), labels] for of in ((hidden, head), (base_hidden, base_head))
        )
        means = [
            -own[at][mask].mean() + coefficient * (own[at] - base[at])[mask].mean() for at, mask in examples
        ]
        return float(np.mean(means))

    weights = np.zeros(12, np.float32)
    for at, mask in examples:
        weights[at] = mask / mask.sum() / len(examples)

    def ours(hidden: jax.Array) -> jax.Array:
        return linear_cross_entropy_with_kl(
            hidden,
            head,
            jnp.asarray(labels),
            jnp.asarray(weights),
            base_hidden,
            base_head,
            jnp.float32(coefficient),
            estimator="sampled_released",
            softcap=softcap,
        )[0]

    value, gradient = jax.value_and_grad(ours)(hidden)
    assert float(value) == pytest.approx(rule(hidden), rel=1e-5)
    exact, step = np.asarray(hidden, np.float64), 1e-6
    slope = np.zeros_like(exact)
    for place in np.ndindex(*exact.shape):
        moved = [exact.copy(), exact.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        slope[place] = (rule(moved[0]) - rule(moved[1])) / (2 * step)  # type: ignore[arg-type]
    np.testing.assert_allclose(gradient, slope, atol=1e-6)
    if coefficient == 1:
        np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_the_base_itself_adds_nothing() -> None:
    hidden, head, *_, weights = inputs()
    labels = jnp.zeros(hidden.shape[0], jnp.int32)

    def gradient(coefficient: float) -> jax.Array:
        def loss(hidden: jax.Array) -> jax.Array:
            base = jax.lax.stop_gradient(hidden), head
            return linear_cross_entropy_with_kl(
                hidden, head, labels, weights, *base, jnp.float32(coefficient)
            )[0]

        return jax.grad(loss)(hidden)

    assert relative_error(gradient(7.0), gradient(0.0)) < 1e-5


def test_each_model_has_one_product_with_its_head_and_another_coefficient_compiles_nothing() -> None:
    hidden, head, base_hidden, base_head, weights = inputs(n=64)
    labels, compiled = jnp.zeros(64, jnp.int32), 0

    @jax.jit
    def loss(coefficient: jax.Array) -> jax.Array:
        nonlocal compiled
        compiled += 1
        base = base_hidden, base_head
        return linear_cross_entropy_with_kl(hidden, head, labels, weights, *base, coefficient)[0]

    assert float(loss(jnp.float32(0.5))) > float(loss(jnp.float32(0.0)))
    assert compiled == 1
    # Of each size of block one branch; in each, one product with each head.
    text = str(jax.make_jaxpr(loss)(jnp.float32(1.0)))
    assert text.count("dot_general") == 2 * text.count(" while[")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"direction": "both"}, "direction must be reverse or forward, got 'both'"),
        ({"estimator": "sampled"}, "estimator must be exact or sampled_released, got 'sampled'"),
    ],
)
def test_a_choice_that_is_none_is_refused(option: dict[str, str], message: str) -> None:
    hidden, head, base_hidden, base_head, weights = inputs()
    labels = jnp.zeros(hidden.shape[0], jnp.int32)
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy_with_kl(
            hidden, head, labels, weights, base_hidden, base_head, jnp.float32(1), **option
        )
