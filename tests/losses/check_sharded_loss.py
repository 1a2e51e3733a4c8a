"""Run with eight devices: the sharded cross-entropy and KL are those of one device, gradients included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.kl import linear_kl
from im_jax.losses.sharded import LossAxes
from tests.jaxpr import equations

AXIS_NAMES = ("replica", "fsdp", "tensor")
AXES = LossAxes(tokens=("replica", "fsdp"), vocab=("tensor",), embed=("fsdp",))
ROWS, VOCAB = 64, 101  # by 2, 4 and 8 devices the vocabulary does not divide
OPTIONS: dict[str, Any] = {"softcap": 5.0, "z_loss": 1e-2, "label_smoothing": 0.1}


def inputs(dim: int, vocab: int, active: list[int]) -> tuple[np.ndarray, ...]:
    """hidden, head, base_hidden, base_head, labels, weights; `active[i]` of each eighth of the rows count."""
    rng = np.random.default_rng(dim + vocab)

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[0] if shape[1] == vocab else 1)).astype(np.float32)

    labels = rng.integers(0, vocab, ROWS).astype(np.int32)
    labels[:2] = 0, vocab - 1
    count = np.repeat(np.asarray(active), ROWS // 8)
    weights = rng.uniform(0.1, 2, ROWS) * (np.arange(ROWS) % (ROWS // 8) < count)
    models = normal(ROWS, dim), normal(dim, vocab), normal(ROWS, dim // 2), normal(dim // 2, vocab)
    return *models, labels, weights.astype(np.float32)


@jax.jit
def losses(hidden: Any, head: Any, base_hidden: Any, base_head: Any, labels: Any, weights: Any) -> Any:
    """Value, token values and gradients of the cross-entropy and of the KL."""

    def cross_entropy(hidden: jax.Array, head: jax.Array) -> Any:
        return linear_cross_entropy(hidden, head, labels, weights, axes=AXES, **OPTIONS)

    def kl(hidden: jax.Array, head: jax.Array) -> Any:
        options = {"softcap": 5.0, "base_softcap": 3.0}
        return linear_kl(hidden, head, base_hidden, base_head, weights, axes=AXES, **options)

    found = [jax.value_and_grad(f, argnums=(0, 1), has_aux=True)(hidden, head) for f in (cross_entropy, kl)]
    return dict(zip(("cross_entropy", "kl"), found, strict=True))


def place(arrays: tuple[np.ndarray, ...], mesh: Any) -> list[jax.Array]:
    """Rows over `replica` and `fsdp`; the heads over `fsdp` and `tensor` where they divide."""

    def of_head(dim: int, vocab: int) -> PartitionSpec:
        sizes = (("fsdp", dim), ("tensor", vocab))
        return PartitionSpec(*(axis if size % mesh.shape[axis] == 0 else None for axis, size in sizes))

    by_row = PartitionSpec(("replica", "fsdp"))
    specs = [of_head(*x.shape) if i in (1, 3) else by_row for i, x in enumerate(arrays)]
    return [jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(arrays, specs, strict=True)]


def make_mesh(*shape: int) -> Any:
    auto = (AxisType.Auto,) * len(shape)
    return jax.make_mesh(shape, AXIS_NAMES, axis_types=auto, devices=jax.devices()[: np.prod(shape)])


def assert_equal(found: Any, expected: Any, scale: float, case: str) -> None:
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        where = f"{case}{jax.tree_util.keystr(path)}"
        assert a.dtype == b.dtype, where
        error = np.linalg.norm(np.asarray(a - b, np.float64))
        assert error <= scale * np.linalg.norm(np.asarray(b, np.float64)), f"{where}: {error}"


def check(name: str, shape: tuple[int, int, int], dim: int, vocab: int) -> None:
    """One mesh and size: masks of equal, unequal and no rows, and rows that hold poison."""
    single, mesh = make_mesh(1, 1, 1), make_mesh(*shape)
    programs = set()
    for active in ([8] * 8, [0, 1, 8, 3, 0, 7, 2, 5], [0] * 7 + [3], [0] * 8):
        arrays = inputs(dim, vocab, active)
        with jax.set_mesh(single):
            expected = jax.device_get(losses(*place(arrays, single)))
        with jax.set_mesh(mesh):
            found = losses(*place(arrays, mesh))
            on_host = jax.device_get(found)
            assert_equal(on_host, expected, 2e-6, f"{name}, {active} ")
            programs.add(losses._cache_size())
            if sum(active) == 0:
                assert not any(np.any(x) for x in jax.tree.leaves(on_host))
            masked = arrays[5] == 0
            hidden, base_hidden, labels = (np.copy(arrays[i]) for i in (0, 2, 4))
            hidden[masked], base_hidden[masked], labels[masked] = np.nan, np.inf, 2**31 - 1
            poisoned = (hidden, arrays[1], base_hidden, arrays[3], labels, arrays[5])
            assert_equal(jax.device_get(losses(*place(poisoned, mesh))), on_host, 0.0, f"{name}, poison ")
    assert len(programs) == 1, "another mask compiled again"
    print(f"{name}: equal")


def check_head_gradient_stays_split() -> None:
    """ZeRO-3: what leaves the loss is the slice that a device keeps, not the whole gradient."""
    mesh = make_mesh(1, 4, 2)
    with jax.set_mesh(mesh):
        found = losses(*place(inputs(24, 104, [1] * 8), mesh))
    for name, (_, (_, d_head)) in found.items():
        assert d_head.sharding.spec == PartitionSpec("fsdp", "tensor"), (name, d_head.sharding)
    print("gradient of the head: split")


def check_head_gradient_is_summed_at_once() -> None:
    """No gradient leaves the loss before that of the head is summed: a whole one would wait on each device."""
    mesh = make_mesh(1, 8, 1)
    with jax.set_mesh(mesh):
        traced = jax.make_jaxpr(losses)(*inputs(24, 104, [1] * 8))
    held = [
        {x.aval.shape for x in equation.invars}
        for equation, _ in equations(traced.jaxpr)
        if equation.primitive.name == "optimization_barrier"
    ]
    assert held.count({(ROWS, 24), (24, 104)}) == len(("cross_entropy", "kl")), held
    print("gradient of the head: summed at once")


def check_absent_mesh() -> None:
    """Axes that no mesh has do not count."""
    arrays = [jnp.asarray(x) for x in inputs(24, VOCAB, [3] * 8)]
    hidden, head, _, _, labels, weights = arrays
    with_axes = linear_cross_entropy(hidden, head, labels, weights, axes=AXES)
    assert_equal(with_axes, linear_cross_entropy(hidden, head, labels, weights), 0.0, "no mesh ")
    print("no mesh: equal")


def main() -> None:
    check("rows", (8, 1, 1), dim=24, vocab=VOCAB)
    check("rows, and the embedding of the head", (1, 8, 1), dim=24, vocab=VOCAB)
    check("vocabulary", (1, 1, 8), dim=24, vocab=VOCAB)
    check("all", (2, 2, 2), dim=24, vocab=VOCAB)
    check("an embedding that does not divide", (1, 4, 2), dim=22, vocab=VOCAB)
    check("a vocabulary that leaves a device nothing", (1, 2, 4), dim=24, vocab=5)
    check_head_gradient_stays_split()
    check_head_gradient_is_summed_at_once()
    check_absent_mesh()


if __name__ == "__main__":
    main()
