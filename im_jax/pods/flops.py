"""Operations of a traced program, counted by walking it: loops as often as they run, kernels step by step.

`cost_analysis` of XLA counts the body of a loop once, ten times too few for a scanned decoder. Here

- a matrix product or convolution counts 2 for each multiplication, everything else nothing;
- a scan counts its body as often as it is long, a loop whose trips are data as often as the name it runs
  under says at most (`im_jax.loops`), else once;
- of the branches of a condition the one with most counts;
- what runs on each device of some axes counts that often;
- a Pallas kernel counts its body for each step of its grid, also those that it skips, as splash attention
  does above the diagonal. PaLM's count has them too; `Flops.kernels` says how many operations are in kernels.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from im_jax.loops import most_trips


class Flops(NamedTuple):
    """Operations of matrix products and convolutions of all devices together."""

    all: int
    kernels: int
    """Those of `all` that are in Pallas kernels."""


def count_flops(jaxpr: Any) -> Flops:
    """Operations of a program in one run.

    Args:
        jaxpr: of `jax.jit(f).trace(...)` or `jax.make_jaxpr`.
    """
    return _of(_bare(jaxpr))


def _of(jaxpr: Any) -> Flops:
    return _sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> Flops:
    name, params = equation.primitive.name, equation.params
    match name:
        case "dot_general":
            return Flops(_of_product(equation), 0)
        case "conv_general_dilated":
            return Flops(_of_convolution(equation), 0)
        case "cond":
            return max(_of(branch.jaxpr) for branch in params["branches"])
        case "scan":
            return _times(params["length"], _of(params["jaxpr"].jaxpr))
        case "while":
            trips = most_trips(str(equation.source_info.name_stack))
            return _times(trips or 1, _of(params["body_jaxpr"].jaxpr))
        case "shard_map":
            shape = dict(params["mesh"].shape)
            axes = params.get("manual_axes", params["mesh"].axis_names)
            return _times(math.prod(shape[axis] for axis in axes), _of(_bare(params["jaxpr"])))
        case "pallas_call":
            steps = math.prod(size for size in params["grid_mapping"].grid if isinstance(size, int))
            inside = steps * _of(_bare(params["jaxpr"])).all
            return Flops(inside, inside)
        case _:
            return _sum(_of(inner) for inner in _inside(params))


def _sum(parts: Iterable[Flops]) -> Flops:
    found = [Flops(0, 0), *parts]
    return Flops(sum(each.all for each in found), sum(each.kernels for each in found))


def _times(times: int, flops: Flops) -> Flops:
    return Flops(times * flops.all, times * flops.kernels)


def _of_product(equation: Any) -> int:
    (summed, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    depth = math.prod(shape[axis] for axis in summed)
    return 2 * depth * math.prod(equation.outvars[0].aval.shape)


def _of_convolution(equation: Any) -> int:
    numbers = equation.params["dimension_numbers"]
    kernel = equation.invars[1].aval.shape
    features = kernel[numbers.rhs_spec[0]]
    return 2 * (math.prod(kernel) // features) * math.prod(equation.outvars[0].aval.shape)


def _bare(jaxpr: Any) -> Any:
    return getattr(jaxpr, "jaxpr", jaxpr)


def _inside(params: dict[str, Any]) -> Iterator[Any]:
    """The programs among an equation's parameters; of a function with a rule of its own, the function."""
    for value in params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            inner = _bare(each)
            if hasattr(inner, "eqns"):
                yield inner
