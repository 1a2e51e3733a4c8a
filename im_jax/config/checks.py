"""Checks of each field of a configuration by its record: its type, its choices, its bounds."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any

from im_jax.config.fields import flatten
from im_jax.config.record import Record, records
from im_jax.errors import ConfigError


def check_fields(config: Any, prefix: str = "") -> None:
    """Check every field on its own, of a configuration or of a group whose name is `prefix`, with its dot.

    Raises:
        ConfigError: names the field, its value, and what it must be.
    """
    _check_types(config, prefix)
    known = records(type(config))
    for name, value in flatten(config).items():
        check_value(known[name]._replace(name=prefix + name), value)


def check_value(record: Record, value: Any) -> None:
    """Check that a value of the right type is one that a field can have.

    Raises:
        ConfigError: it is none of the choices, or out of bounds.
    """
    if value is None:
        return
    if record.choices and isinstance(value, str):
        _check_choice(record, value)
    elif record.bounds is not None and not record.bounds.hold(value):
        raise ConfigError(f"{record.name}={value} must be {_wanted(record, value)}")


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """`; did you mean im?` where a choice is like a value, in lower case too; else nothing."""
    known = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(value).lower(), known, n=1)
    return f"; did you mean {known[near[0]]}?" if near else ""


def _check_choice(record: Record, value: str) -> None:
    given = [part.strip() for part in value.split(",")] if record.several else [value]
    if record.several and not value and not record.default:
        return
    for one in given:
        if one in record.choices or (record.or_path and _is_path(one)):
            continue
        which = f"{record.name}={value!r}: {one!r}" if record.several else f"{record.name}={value!r}"
        or_path = f", nor a path to {record.or_path}" if record.or_path else ""
        or_path += ", nor a whole number" if int in record.types else ""
        raise ConfigError(
            f"{which} is not one of {', '.join(record.choices)}{or_path}{did_you_mean(one, record.choices)}"
        )


def _is_path(value: str) -> bool:
    return "/" in value or value.endswith((".json", ".jinja"))


def _wanted(record: Record, value: float) -> str:
    bounds = record.bounds
    assert bounds is not None
    if float in record.types:
        return f"in {bounds.ends[0]}{bounds.low:g}, {bounds.high:g}{bounds.ends[1]}"
    return f"{bounds.low:.0f} or more" if value < bounds.low else f"{bounds.high:.0f} or less"


def _check_types(group: Any, prefix: str) -> None:
    """Stop at a value of another type than its field, or at an attribute that is no field."""
    known = {field.name: field.type for field in dataclasses.fields(group)}
    for name in vars(group).keys() - known.keys():
        raise ConfigError(f"{prefix}{name} is no field{did_you_mean(name, known)}")
    for name, kind in known.items():
        value = getattr(group, name)
        kinds: tuple[Any, ...] = typing.get_args(kind) or (kind,)
        fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
        if isinstance(value, bool) and bool not in kinds:
            fits = False
        if not fits:
            wanted = " or ".join("unset" if k is types.NoneType else k.__name__ for k in kinds)
            raise ConfigError(f"{prefix}{name}={value!r} is {type(value).__name__}; it must be {wanted}")
        if dataclasses.is_dataclass(value):
            _check_types(value, f"{prefix}{name}.")
