"""Trees of parameters of which some are trained and the others only read."""

from collections.abc import Callable
from typing import NamedTuple

from flax import traverse_util

from im_jax.models.decoder import Params


class Frozen(NamedTuple):
    """Parameters that a step only reads: never differentiated, donated or saved."""

    rest: Params
    """Of the model that is trained, the part of the tree that the trained parameters lack; `{}`: none."""
    base: Params | None = None
    """What the model that the trained one is held to by `loss.kl` has beside `rest`: the trained parameters
    as they were before the first step, without adapters. None: it is held to none."""


IsTrained = Callable[[str], bool]
"""Asked with the path of a parameter in the tree, such as `layers.attention.query`."""


def everything(path: str) -> bool:
    """All parameters are trained."""
    del path
    return True


def split(params: Params, is_trained: IsTrained) -> tuple[Params, Params]:
    """The trained and the frozen part of a tree.

    Args:
        params: nested dict of anything: arrays, shapes or shardings.
        is_trained: asked with the path of each leaf, such as `layers.attention.query`.
    """
    flat = traverse_util.flatten_dict(params)
    trained = {path: leaf for path, leaf in flat.items() if is_trained(".".join(path))}
    frozen = {path: leaf for path, leaf in flat.items() if path not in trained}
    return traverse_util.unflatten_dict(trained), traverse_util.unflatten_dict(frozen)


def merge(trained: Params, frozen: Params) -> Params:
    """The whole tree of two parts that have no leaf in common.

    Raises:
        ValueError: a leaf is in both.
    """
    if not frozen:
        return trained
    left, right = traverse_util.flatten_dict(trained), traverse_util.flatten_dict(frozen)
    if both := left.keys() & right.keys():
        names = ", ".join(sorted(".".join(path) for path in both))
        raise ValueError(f"parameters are both trained and frozen: {names}")
    return traverse_util.unflatten_dict(left | right)
