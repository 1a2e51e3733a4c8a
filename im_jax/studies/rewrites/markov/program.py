"""A Markov algorithm as data: rules in order. `notation.py` reads and writes them, `machine.py` runs them."""

from collections.abc import Sequence
from dataclasses import dataclass

from im_jax.errors import DataError


@dataclass(frozen=True)
class Rule:
    """left -> right; a terminal rule ends the run when it is applied. Either side may be empty.

    Raises:
        DataError: a side holds half of a surrogate pair, so that it could not be written as UTF-8.
    """

    left: str
    right: str
    terminal: bool = False

    def __post_init__(self) -> None:
        for name, side in (("left", self.left), ("right", self.right)):
            try:
                side.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"the {name} side {side!r} of a rule has half of a surrogate pair at position "
                    f"{error.start}; write the whole character, or leave it out"
                ) from error


@dataclass(frozen=True)
class Program:
    """Rules in the order in which they are tried, kept as a tuple. Without any, every text stays as it is."""

    rules: Sequence[Rule]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
