"""Optimisers other than AdamW = their definitions in float64, a layer's matrix at a time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from im_jax.config import OptimizerConfig
from im_jax.training.optimizer import make_optimizer
from im_jax.training.schedule_free import gradient_point

RATE, DECAY, STEPS = 1e-2, 0.1, 4
LAYERS, WIDTH, HEADS, SIZE = 2, 130, 4, 40
SHAPES = {
    "embedding": (140, WIDTH),
    "layers": {
        "attention": {"query": (LAYERS, WIDTH, HEADS, SIZE), "output": (LAYERS, HEADS, SIZE, WIDTH)},
        "attention_norm": {"scale": (LAYERS, WIDTH)},
    },
}
MATRICES = {"query": (WIDTH, HEADS * SIZE), "output": (HEADS * SIZE, WIDTH)}
"""Inputs and outputs of a layer's maps."""


def tree(rng: np.random.Generator, scale: float) -> Any:
    def draw(shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(scale * rng.normal(size=shape).astype(np.float32))

    return jax.tree.map(draw, SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def start_and_gradients() -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(0)
    return tree(rng, 0.5), [tree(rng, 0.1 * 3**step) for step in range(STEPS)]


def trained(**config: Any) -> Any:
    """The parameters after some steps of given gradients."""
    chosen = OptimizerConfig(weight_decay=DECAY, **config)
    optimizer = make_optimizer(chosen, optax.constant_schedule(RATE))
    params, gradients = start_and_gradients()
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def expected(name: str, layer: int | None, step: Any, decays: bool) -> np.ndarray:
    """What a matrix, a vector or a table becomes where `step(gradient, memory, number)` is its update.

    Of a layer's map, the true matrix [inputs, outputs].
    """

    def find(whole: Any) -> np.ndarray:
        flat = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(whole)}
        found = next(np.asarray(x, np.float64) for path, x in flat.items() if f"'{name}'" in path)
        found = found if layer is None else found[layer]
        return found.reshape(MATRICES[name]) if name in MATRICES else found

    params, gradients = start_and_gradients()
    weight, memory = find(params), {}
    for number, gradient in enumerate(gradients, start=1):
        direction = step(find(gradient), memory, number)
        weight = weight - RATE * (direction + (DECAY * weight if decays else 0))
    return weight


def assert_trained(after: Any, step: Any, *, tolerance: float, maps: Any = None) -> None:
    """That all parameters are what their updates make of them; `maps` is that of layers' maps, if another."""
    layers = after["layers"]
    for layer in range(LAYERS):
        for name, shape in MATRICES.items():
            ours = layers["attention"][name][layer].reshape(shape)
            wanted = expected(name, layer, maps or step, decays=True)
            np.testing.assert_allclose(ours, wanted, atol=tolerance, rtol=0, err_msg=f"{name} {layer}")
        ours = layers["attention_norm"]["scale"][layer]
        np.testing.assert_allclose(
            ours, expected("attention_norm", layer, step, decays=False), atol=tolerance
        )
    table = expected("embedding", None, step, decays=False)
    np.testing.assert_allclose(after["embedding"], table, atol=tolerance)


def adam(gradient: np.ndarray, memory: dict[str, Any], number: int) -> np.ndarray:
    """With the constants of the preset `paper`."""
    memory["mu"] = 0.9 * memory.get("mu", 0) + 0.1 * gradient
    memory["nu"] = 0.98 * memory.get("nu", 0) + 0.02 * gradient**2
    return memory["mu"] / (1 - 0.9**number) / (np.sqrt(memory["nu"] / (1 - 0.98**number)) + 1e-6)


def adafactor(gradient: np.ndarray, memory: dict[str, Any], number: int) -> np.ndarray:
    """arXiv:1804.04235, algorithms 4 and 5, without the scale of parameters."""
    decay = 1 - number**-0.8
    square = gradient**2 + 1e-30
    if gradient.ndim == 2 and min(gradient.shape) >= 128:
        memory["rows"] = decay * memory.get("rows", 0) + (1 - decay) * square.mean(axis=1)
        memory["columns"] = decay * memory.get("columns", 0) + (1 - decay) * square.mean(axis=0)
        second = np.outer(memory["rows"], memory["columns"]) / memory["rows"].mean()
    else:
        second = memory["all"] = decay * memory.get("all", 0) + (1 - decay) * square
    update = gradient / np.sqrt(second)
    return update / max(1.0, np.sqrt((update**2).mean()))


def lion(gradient: np.ndarray, memory: dict[str, Any], number: int) -> np.ndarray:
    """arXiv:2302.06675, algorithm 2."""
    moment = memory.get("mu", 0)
    memory["mu"] = 0.99 * moment + 0.01 * gradient
    return np.sign(0.9 * moment + 0.1 * gradient)


def muon(gradient: np.ndarray, memory: dict[str, Any], number: int) -> np.ndarray:
    """Jordan et al. 2024 with Nesterov's momentum, as large as Adam's steps (arXiv:2502.16982)."""
    memory["mu"] = 0.95 * memory.get("mu", 0) + 0.05 * gradient
    ahead = memory["mu"] / (1 - 0.95 ** (number + 1))
    x = 0.95 * ahead + 0.05 * gradient / (1 - 0.95**number)
    x = x / (np.linalg.norm(x) + 1e-8)
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    x = x.T if turned else x
    singular = np.linalg.svd(x, compute_uv=False)
    assert singular.min() > 0.3 and singular.max() < 1.4
    return 0.2 * np.sqrt(max(x.shape)) * x


def test_adafactor_factors_each_layers_matrix_of_inputs_and_outputs() -> None:
    assert_trained(trained(name="adafactor"), adafactor, tolerance=2e-6)


def test_lion_is_its_definition() -> None:
    assert_trained(trained(name="lion"), lion, tolerance=1e-6)


def test_muon_orthogonalises_each_layers_matrix_and_leaves_the_rest_to_adamw() -> None:
    after = trained(name="muon")
    assert_trained(after, adam, maps=muon, tolerance=5e-6)
    alone = trained(name="adamw")
    np.testing.assert_array_equal(after["embedding"], alone["embedding"])


def test_adamw_is_optax_bit_for_bit() -> None:
    params, gradients = start_and_gradients()
    theirs = optax.adamw(RATE, 0.9, 0.98, 1e-6, weight_decay=DECAY)
    ours = make_optimizer(
        OptimizerConfig(weight_decay=DECAY, decay_mask="all"), optax.constant_schedule(RATE)
    )
    theirs = optax.adamw(optax.constant_schedule(RATE), 0.9, 0.98, 1e-6, weight_decay=DECAY)
    states = theirs.init(params), ours.init(params)
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    for gradient in gradients:
        (a, first), (b, second) = (
            jax.jit(each.update)(gradient, state, params)
            for each, state in zip((theirs, ours), states, strict=True)
        )
        states = first, second
        for x, y in zip(jax.tree.leaves((a, first)), jax.tree.leaves((b, second)), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["adamw", "lion", "muon"])
def test_first_moment_in_bfloat16_takes_half_the_bytes_and_changes_little(name: str) -> None:
    wide, narrow = trained(name=name), trained(name=name, mu_dtype="bfloat16")
    near = [np.mean(np.abs(a - b)) for a, b in zip(*map(jax.tree.leaves, (wide, narrow)), strict=True)]
    assert 0 < max(near) < 0.02 * STEPS * RATE
    params = start_and_gradients()[0]

    def size(**config: Any) -> int:
        made = make_optimizer(OptimizerConfig(name=name, **config), optax.constant_schedule(RATE))
        return sum(x.nbytes for x in jax.tree.leaves(made.init(params)))

    assert size() - size(mu_dtype="bfloat16") == 2 * sum(x.size for x in jax.tree.leaves(params))


def loss(params: Any) -> jax.Array:
    return sum(jnp.sum(jnp.cos(3 * x) + x**2) for x in jax.tree.leaves(params))


def test_schedule_free_mean_is_that_of_optax() -> None:
    params = start_and_gradients()[0]
    theirs = optax.contrib.schedule_free_adamw(RATE, b1=0.9, b2=0.98, eps=1e-6, weight_decay=DECAY)
    config = OptimizerConfig(name="schedule_free_adamw", weight_decay=DECAY, decay_mask="all")
    ours = make_optimizer(config, optax.constant_schedule(RATE))
    y, their_state = params, theirs.init(params)
    x, our_state = params, ours.init(params)
    for _ in range(20):
        updates, their_state = theirs.update(jax.grad(loss)(y), their_state, y)
        y = optax.apply_updates(y, updates)
        updates, our_state = ours.update(jax.grad(loss)(gradient_point(x, our_state)), our_state, x)
        x = optax.apply_updates(x, updates)
    mean = optax.contrib.schedule_free_eval_params(their_state, y)
    for a, b, c in zip(*map(jax.tree.leaves, (x, mean, y)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.abs(a - c).max() > 1e-3  # a mean is not where gradients are taken


def test_schedule_free_warm_up_weighs_by_the_rate_and_a_rate_of_zero_changes_nothing() -> None:
    rates, start = [0.0, 0.5, 1.0, 1.0], np.array([2.0])
    config = OptimizerConfig(name="schedule_free_adamw", beta2=0.0, beta1=0.8)
    ours = make_optimizer(config, lambda step: jnp.asarray(rates)[step])
    x, z, total = start, start, 0.0
    params = {"weight": jnp.asarray(start, jnp.float32)}
    state = ours.init(params)
    for rate in rates:
        y = 0.2 * z + 0.8 * x
        np.testing.assert_allclose(gradient_point(params, state)["weight"], y, rtol=1e-5)
        z = z - rate * np.sign(y)  # all that Adam without memory knows
        total += rate**2
        x = x + (rate**2 / total if total else 0) * (z - x)
        updates, state = ours.update({"weight": 2 * jnp.asarray(y, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["weight"], x, rtol=1e-5)
