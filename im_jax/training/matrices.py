"""Parameters as the matrices that optimisers mean: layers apart, heads together.

Weights of layers are kept as `[layers, *inputs, *outputs]`, such as a query's `[layers, D, H, K]`. What an
optimiser does to a matrix it is to do to each layer's `[inputs, outputs]`.
"""

import math
from typing import Any, Final

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers

from im_jax.models.adapters import lora

Path = tuple[Any, ...]

_NO_MAPS: Final = ("norm", "bias", "embed")
"""In the names of vectors, and of tables that are looked up."""


def is_map(path: Path) -> bool:
    """Whether a parameter is the weight of a linear map, by its path."""
    names = jax.tree_util.keystr(path)
    return not any(part in names for part in _NO_MAPS)


def is_of_layers(path: Path) -> bool:
    """Whether a parameter is stacked, a layer behind the other."""
    return jax.tree_util.keystr(path[:1], simple=True) == "layers"


def dimension_numbers(path: Path, ndim: int) -> MuonDimensionNumbers | None:
    """Which axes of a weight are a layer's inputs and outputs; None if it is no linear map of a layer.

    Attention's map `output` has its heads before the model dimension, all others have one axis of inputs. Of
    the two matrices of an adapter, A has one axis of outputs, and B one of inputs.
    """
    if not is_of_layers(path) or not is_map(path) or ndim < 3:
        return None
    name = jax.tree_util.keystr(path[-1:], simple=True)
    inputs = ndim - 2 if name == "output" or name.endswith(lora.A) else 1
    axes = tuple(range(1, ndim))
    return MuonDimensionNumbers(axes[:inputs], axes[inputs:])


def muon_dimension_numbers(params: optax.Params) -> optax.Params:
    """`dimension_numbers` of each leaf of a tree that has nothing else."""
    return jax.tree_util.tree_map_with_path(lambda path, x: dimension_numbers(path, x.ndim), params)


def on_matrices(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """A transformation that sees the weights of layers as `[layers, inputs, outputs]`."""

    def init(params: optax.Params) -> optax.OptState:
        return inner.init(_as_matrices(params))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        changed, state = inner.update(_as_matrices(updates), state, _as_matrices(params))
        return jax.tree.map(lambda new, like: new.reshape(like.shape), changed, updates), state

    return optax.GradientTransformation(init, update)


def clip_each_by_rms(threshold: float) -> optax.GradientTransformation:
    """Bounds the root mean square of each update, layers apart (arXiv:1804.04235, section 6)."""

    def clip(path: Path, x: jax.Array) -> jax.Array:
        over = tuple(range(1 if is_of_layers(path) else 0, x.ndim))
        rms = jnp.sqrt(jnp.mean(jnp.square(x), axis=over, keepdims=True))
        return x / jnp.maximum(1.0, rms / threshold)

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(clip, updates))


def scale_by_largest_side(factor: float) -> optax.GradientTransformation:
    """Scales each update by `factor` times the root of the larger of its numbers of inputs and outputs."""

    def scale(path: Path, x: jax.Array) -> jax.Array:
        numbers = dimension_numbers(path, x.ndim)
        assert numbers is not None
        return x * (factor * math.sqrt(max(_sizes(x.shape, numbers))))

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))


def _as_matrices(params: Any) -> Any:
    def matrices(path: Path, x: jax.Array) -> jax.Array:
        numbers = dimension_numbers(path, x.ndim)
        return x if numbers is None else x.reshape(x.shape[0], *_sizes(x.shape, numbers))

    return jax.tree_util.tree_map_with_path(matrices, params)


def _sizes(shape: tuple[int, ...], numbers: MuonDimensionNumbers) -> tuple[int, int]:
    """Inputs and outputs of each layer."""
    inputs = math.prod(shape[axis] for axis in numbers.reduction_axis)
    return inputs, math.prod(shape[1:]) // inputs
