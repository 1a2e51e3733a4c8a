"""What is known of a field of the configuration, declared once, where the field is.

    steps: int = setting(0, "Optimiser steps; 0: from `epochs`.", bounds=at_least(0), may_change=True)
    log: LogConfig = group(LogConfig, decides=Decides.PLACE)

Checks, flags, `--help`, the table in `docs/configuration.md`, what may change when a run is resumed, and what
the hash of a sweep's run counts all read these records. What a group says holds for all of its fields that
do not say otherwise.
"""

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, cast

_T = TypeVar("_T")

LARGEST_INT: Final = 2**31 - 1
LARGEST_FLOAT: Final = 3.4e38
"""Of float32, which all real numbers end up as."""


class Decides(enum.Enum):
    """What another value of a field changes."""

    RESULT = "the result"
    """The data, the model, the loss, or what is measured: another value is another run."""
    SPEED = "the speed"
    """Time and memory. Results may differ by rounding."""
    PLACE = "the place"
    """On which devices it is computed, and what is written about it, where and how often."""
    REFUSAL = "a refusal"
    """Whether the run is refused; nothing about one that is not."""


class Bounds(NamedTuple):
    """An interval of numbers; `ends` are `[` or `(` and `]` or `)`, as in mathematics."""

    low: float
    high: float
    ends: str = "[]"

    def hold(self, value: float) -> bool:
        """Whether a number is inside; none is that is not finite in float32."""
        if not abs(value) <= LARGEST_FLOAT:
            return False
        above = value >= self.low if self.ends[0] == "[" else value > self.low
        return above and (value <= self.high if self.ends[1] == "]" else value < self.high)

    def __str__(self) -> str:
        """For a reader: `1 or more`, `above 0`, `0 to 1`, `0 to below 1`."""
        low = f"{self.low:g}" if self.ends[0] == "[" else f"above {self.low:g}"
        if self.high in (math.inf, LARGEST_INT):
            return f"{low} or more" if self.ends[0] == "[" else low
        high = f"{self.high:.10g}"
        return f"{low} to {high}" if self.ends[1] == "]" else f"{low} to below {high}"


def at_least(low: int, most: int = LARGEST_INT) -> Bounds:
    """Whole numbers from `low` to `most`."""
    return Bounds(low, most)


ABOVE_ZERO: Final = Bounds(0.0, math.inf, "()")
NOT_NEGATIVE: Final = Bounds(0.0, math.inf, "[)")
SHARE: Final = Bounds(0.0, 1.0)
BELOW_ONE: Final = Bounds(0.0, 1.0, "[)")


class When(NamedTuple):
    """That a field has an effect only with certain values of another."""

    field: str
    values: tuple[str, ...]
    otherwise: str = ""
    """Why it has none with another value, written as `{value}`; empty: that says enough."""

    def __str__(self) -> str:
        """For a reader: `data.source=jsonl or tfds`; nothing behind `=` is the empty text."""
        return f"{self.field}={' or '.join(self.values)}"


class Record(NamedTuple):
    """All that is known of one field."""

    name: str
    """With its groups: `loss.weights.user`."""
    types: tuple[type, ...]
    """Types of its values; `NoneType` among them where it may be unset."""
    default: Any
    help: str
    """What it means, in one line of Markdown without links."""
    choices: tuple[str, ...] = ()
    several: bool = False
    """Whether a value is some of the choices, joined by commas."""
    or_path: str = ""
    """What file may stand in place of a choice, if one may."""
    bounds: Bounds | None = None
    decides: Decides = Decides.RESULT
    may_change: bool = False
    """Whether a run that is resumed may go on with another value."""
    when: When | None = None
    see: str = ""
    """Section in `docs/` that says more."""

    @property
    def group(self) -> str:
        """Name of the group it is in; empty at the top level."""
        return self.name.rpartition(".")[0]

    @property
    def is_architecture(self) -> bool:
        """Whether a checkpoint of a model decides it."""
        return self.when is not None and self.when.field == "model.path"

    @property
    def may_be_unset(self) -> bool:
        """Whether `None` is a value."""
        return types.NoneType in self.types

    @property
    def kind(self) -> str:
        """What a value is, for a reader: `a whole number`."""
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        known = " or ".join(names[each] for each in self.types if each in names)
        return f"{known} or none" if self.may_be_unset else known


def setting(
    default: _T,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    several: bool = False,
    or_path: str = "",
    bounds: Bounds | None = None,
    decides: Decides | None = None,
    may_change: bool | None = None,
    when: When | None = None,
    see: str = "",
) -> _T:
    """A field of a group, with its record: see `Record` for the arguments.

    `decides` and `when` are those of the group if they are not given, and that is the result and always for
    the configuration as a whole. `may_change` follows from `decides` if it is not given: only what decides
    the result may not.
    """
    told = {
        "help": help,
        "choices": choices,
        "several": several,
        "or_path": or_path,
        "bounds": bounds,
        "decides": decides,
        "may_change": may_change,
        "when": when,
        "see": see,
    }
    made: Any = dataclasses.field(default=default, metadata=told)
    return cast(_T, made)


def group(kind: type[_T], *, decides: Decides | None = None, when: When | None = None) -> _T:
    """A group of fields in another, with what holds for all of them."""
    made: Any = dataclasses.field(default_factory=kind, metadata={"decides": decides, "when": when})
    return cast(_T, made)


def records(kind: type) -> Mapping[str, Record]:
    """The record of every field of a configuration, by its dotted name, in order of declaration."""
    return _by_name(cast(Hashable, kind))


@functools.cache
def _by_name(kind: Any) -> Mapping[str, Record]:
    return {record.name: record for record in _records(kind, "", Decides.RESULT, None)}


def _records(kind: type, prefix: str, decides: Decides, when: When | None) -> list[Record]:
    found = []
    for field in dataclasses.fields(kind):
        told = dict(field.metadata)
        inherited = (told.pop("decides", None) or decides, told.pop("when", None) or when)
        if dataclasses.is_dataclass(field.type):
            assert isinstance(field.type, type)
            found += _records(field.type, f"{prefix}{field.name}.", *inherited)
            continue
        kinds: tuple[type, ...] = typing.get_args(field.type) or (cast(type, field.type),)
        may_change = told.pop("may_change", None)
        if may_change is None:
            may_change = inherited[0] is not Decides.RESULT
        found.append(
            Record(
                prefix + field.name,
                kinds,
                field.default,
                **told,
                decides=inherited[0],
                may_change=may_change,
                when=inherited[1],
            )
        )
    return found
