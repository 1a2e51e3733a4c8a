"""Loops whose trips are data, with a bound that can be read off the program.

Who counts the operations of a program, or reads a profile, finds how often such a loop runs at most in the
name that it runs under.
"""

import re
from collections.abc import Callable
from typing import Final, TypeVar

import jax

_T = TypeVar("_T")

_NAME: Final = "at_most_{}_trips"
_FOUND: Final = re.compile(_NAME.format(r"(\d+)"))


def bounded_loop(trips: jax.Array | int, most: int, body: Callable[[jax.Array, _T], _T], initial: _T) -> _T:
    """`jax.lax.fori_loop(0, trips, body, initial)`, of which is known that `trips` is at most `most`."""
    with jax.named_scope(_NAME.format(most)):
        return jax.lax.fori_loop(0, trips, body, initial)


def most_trips(name: str) -> int | None:
    """How often a loop runs at most, by the name it runs under; None if that says nothing."""
    found = _FOUND.findall(name)
    return int(found[-1]) if found else None
