"""How an optimiser's array lies on the mesh that has fewer axes than its parameter."""

import itertools
import math
from collections.abc import Iterator

from jax.sharding import PartitionSpec

Shape = tuple[int, ...]


def spec_beside(shape: Shape, param: Shape, spec: PartitionSpec) -> PartitionSpec:
    """The layout of an array that belongs to a parameter.

    Moments have the parameter's shape and layout. Factored ones lack an axis, or one of a matrix whose axes
    were merged; the others lie as the parameter's do, merged ones as their first, if only that is split. What
    has any other shape is whole on every device.

    Args:
        shape: of the array.
        param: shape of the parameter.
        spec: layout of the parameter, with an entry for each axis.
    """
    if shape == param:
        return spec
    for groups in _groupings(len(param)):
        for left_out in (None, *range(len(groups))):
            kept = [group for number, group in enumerate(groups) if number != left_out]
            if shape == tuple(math.prod(param[axis] for axis in group) for group in kept):
                return PartitionSpec(*(_merged(spec, group) for group in kept))
    return PartitionSpec()


def _groupings(ndim: int) -> Iterator[list[Shape]]:
    """All ways to merge neighbours among some axes, single axes first."""
    for merged in itertools.product((False, True), repeat=max(ndim - 1, 0)):
        groups: list[Shape] = [(0,)] if ndim else []
        for axis, with_the_last in enumerate(merged, start=1):
            groups[-1:] = [(*groups[-1], axis)] if with_the_last else [groups[-1], (axis,)]
        yield groups


def _merged(spec: PartitionSpec, axes: Shape) -> str | tuple[str, ...] | None:
    first, *others = (spec[axis] for axis in axes)
    return None if any(others) else first
