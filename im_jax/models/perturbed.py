"""Which arguments of a product are differentiated, so that weights that are only read get no gradient.

`jax.custom_vjp` tells a forward rule with `symbolic_zeros=True`, for each array, whether it is. A flag cannot
be among residuals, which are arrays; there the structure of a tree says it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero


def values(primals: Any) -> Any:
    """The arrays that a forward rule is given."""
    return jax.tree.map(lambda primal: primal.value, primals, is_leaf=_is_primal)


def cut(primals: Any) -> tuple[Any, Any]:
    """The arrays that are differentiated, and the others: trees like the whole with `None` for what is in
    the other one."""
    trained = jax.tree.map(lambda p: p.value if p.perturbed else None, primals, is_leaf=_is_primal)
    fixed = jax.tree.map(lambda p: None if p.perturbed else p.value, primals, is_leaf=_is_primal)
    return trained, fixed


def joined(trained: Any, fixed: Any) -> Any:
    """The whole again that was `cut`."""
    return jax.tree.map(
        lambda one, other: other if one is None else one, trained, fixed, is_leaf=lambda leaf: leaf is None
    )


def arrays(cotangents: Any) -> Any:
    """What a backward rule is given, with zeros where nothing flows back."""
    return jax.tree.map(
        lambda ct: jnp.zeros(ct.shape, ct.dtype) if isinstance(ct, SymbolicZero) else ct,
        cotangents,
        is_leaf=lambda ct: isinstance(ct, SymbolicZero),
    )


def _is_primal(leaf: Any) -> bool:
    return isinstance(leaf, CustomVJPPrimal)
