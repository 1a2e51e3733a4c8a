"""JSON objects of others, read key by key, each with its type and range; errors say key, value and range."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from im_jax.errors import CheckpointError

REQUIRED: Final = object()
"""In place of a default: the key must be there."""


class Keys:
    """The keys of a JSON object. A key that is absent takes the default; null is a value like others."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        """Args:
        values: the object.
        where: what messages begin with, up to the key: the file, and of a nested object its key.
        """
        self.values = values
        self.where = where

    @classmethod
    def of_file(cls, path: Path) -> "Keys":
        """The object that a file holds.

        Raises:
            CheckpointError: it is missing, or no JSON, which has no NaN or infinity, or no object.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
        except RecursionError:
            raise CheckpointError(f"{path}: not valid JSON: nested too deeply") from None
        except ValueError as error:
            raise CheckpointError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{path}: holds {shown(values)}, not an object")
        return cls(values, f"{path}: ")

    def size(self, key: str, most: int, default: Any = REQUIRED) -> int:
        """A whole number from 1 to `most`."""
        return int(self._checked(key, default, lambda x: _is_size(x, most), _size_text(most)))

    def optional_size(self, key: str, most: int, default: int | None = None) -> int | None:
        """A whole number from 1 to `most`, or null."""
        value = self._checked(
            key, default, lambda x: x is None or _is_size(x, most), _size_text(most) + ", or null"
        )
        return None if value is None else int(value)

    def number(self, key: str, default: Any = REQUIRED, *, least: float, most: float = math.inf) -> float:
        """A number from `least` to `most`, whole or not."""
        text = f"a number of at least {least:g}" + (f" and at most {most:g}" if most < math.inf else "")
        return float(self._checked(key, default, lambda x: _is_number(x) and least <= x <= most, text))

    def flag(self, key: str, default: Any = REQUIRED) -> bool:
        """true or false."""
        return bool(self._checked(key, default, lambda x: isinstance(x, bool), "true or false"))

    def choice(self, key: str, *choices: Any, default: Any = REQUIRED) -> Any:
        """One of some values; all but the first are other names of it, or other choices."""
        text = " or ".join(shown(choice) for choice in choices)
        return self._checked(
            key, default, lambda x: any(type(x) is type(one) and x == one for one in choices), text
        )

    def only(self, **values: Any) -> None:
        """Stops at keys that are there with another value than the one that can be computed with."""
        for key, value in values.items():
            self.choice(key, *(value if isinstance(value, tuple) else (value,)), default=value)

    def section(self, key: str) -> "Keys | None":
        """A nested object; None where it is absent, null or empty."""
        value = self._checked(key, None, lambda x: x is None or isinstance(x, dict), "an object, or null")
        return Keys(value, f"{self.where}{key}.") if value else None

    def fail(self, key: str, must: str) -> CheckpointError:
        """The error for a value that cannot be; `must` says what it must be."""
        if key not in self.values:
            return CheckpointError(f"{self.where}{key} is missing; it must be {must}")
        return CheckpointError(f"{self.where}{key} is {shown(self.values[key])}; it must be {must}")

    def _checked(self, key: str, default: Any, fits: Callable[[Any], bool], must: str) -> Any:
        if key not in self.values and default is not REQUIRED:
            return default
        if key not in self.values or not fits(self.values[key]):
            raise self.fail(key, must)
        return self.values[key]


def shown(value: Any) -> str:
    """A value as JSON, shortened to fit a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_size(value: Any, most: int) -> bool:
    # 300.0 is refused as transformers refuses it; true is no number, though Python's bool is an int.
    return type(value) is int and 1 <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _size_text(most: int) -> str:
    return f"a whole number from 1 to {most}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
