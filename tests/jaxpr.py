"""What a traced program does, counted through the loops and functions in it."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr


def equations(jaxpr: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """Every equation and how often it runs: the body of a scan as often as that is long, all branches once."""
    for equation in jaxpr.eqns:
        yield equation, times
        inner = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        for value in equation.params.values():
            for each in value if isinstance(value, (tuple, list)) else (value,):
                each = getattr(each, "jaxpr", each)
                if hasattr(each, "eqns"):
                    yield from equations(each, inner)


def product_flops(traced: ClosedJaxpr, *, batched: bool | None = None) -> int:
    """Floating-point operations of all matrix products; of those with dimensions that only go along, or without."""
    total = 0
    for equation, times in equations(traced.jaxpr):
        if equation.primitive.name == "dot_general":
            (summed, _), (along, _) = equation.params["dimension_numbers"]
            if batched not in (None, bool(along)):
                continue
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in summed)
            total += times * 2 * depth * math.prod(equation.outvars[0].aval.shape)
    return total
