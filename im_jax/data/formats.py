"""Which of the formats a record has, and what to set where it has none or lacks a field."""

import itertools
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from im_jax.config import FieldNames
from im_jax.data.refusals import fail, shown
from im_jax.errors import DataError

DEFAULT_FIELDS: Final = FieldNames()
OPTIONAL: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("messages",): ("system",),
    ("prompt", "completion"): ("system",),
    ("instruction", "output"): ("input", "system"),
}
"""The formats: the fields that each requires, and those that it may have."""
_OUTPUT_NAMES: Final = ("output", "completion", "response", "answer", "target", "solution")
_USUAL_NAMES: Final = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "chat", "turns"),
    "prompt": ("prompt", "question", "query", "problem", "instruction"),
    "completion": _OUTPUT_NAMES,
    "instruction": ("instruction", "task", "question", "prompt"),
    "output": _OUTPUT_NAMES,
    "input": ("input", "context", "passage"),
    "system": ("system", "system_prompt"),
}
_NAMES_SHOWN: Final = 12


def refuse_unknown_names(records: Iterable[object], fields: FieldNames, place: str) -> None:
    """Stop at a name in `data.fields` that no record has: a text would be missing without a word.

    Args:
        records: decoded records; read until all names are found.
        fields: what the fields are called; a default name may be absent, and an empty one is switched off.
        place: what is read.

    Raises:
        DataError: naming the field.
    """
    unknown = {
        field: name for field, name in vars(fields).items() if name and name != getattr(DEFAULT_FIELDS, field)
    }
    keys: dict[str, None] = {}
    for record in records if unknown else ():
        keys |= dict.fromkeys(record if isinstance(record, dict) else ())
        unknown = {field: name for field, name in unknown.items() if name not in keys}
        if not unknown:
            return
    for field, name in unknown.items():
        found = ", ".join(shown(key) for key in itertools.islice(keys, _NAMES_SHOWN))
        raise DataError(f"data.fields.{field}={name}: no record of {place} has it; fields found: {found}")


def format_of(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[str, ...]:
    """The one format whose required fields the record all has."""
    formats = {required: [getattr(fields, field) for field in required] for required in OPTIONAL}
    complete = [f for f, keys in formats.items() if all(record.get(key) is not None for key in keys)]
    if len(complete) == 1:
        return complete[0]
    if complete:
        found = " and ".join(f"`{'/'.join(formats[required])}`" for required in complete)
        flag = f"--config.data.fields.{complete[0][0]}="
        raise DataError(f"{origin}: has both {found}; disable one by an empty name, for example {flag}")

    _refuse_unknown_format(record, origin, formats)


def _refuse_unknown_format(
    record: dict[str, Any], origin: str, formats: dict[tuple[str, ...], list[str]]
) -> NoReturn:
    """Names the field that would complete a format, or else the settings that look likeliest."""
    keys_found = ", ".join(shown(key) for key, value in record.items() if value is not None) or "none"
    for required, keys in formats.items():
        for field, key in zip(required, keys, strict=True):
            if record.get(key) is None and any(record.get(other) is not None for other in keys):
                if key in record:
                    fail(origin, key, "is null; give it some text or remove the record")
                flags = " ".join([_suggested_flag(field, record), *_flags_of_optional(required, record)])
                fail(origin, key, f"is missing; add it, or set {flags}; fields found: {keys_found}")
    for key, value in record.items():
        if key.lower() in _USUAL_NAMES["messages"] and isinstance(value, list):
            refuse_sharegpt(value, key, origin)
    for field in (field for required in formats for field in required):
        if (key := getattr(DEFAULT_FIELDS, field)) in record and record[key] is None:
            fail(origin, key, "is null; give it some text or remove the record")
    wanted = ", or ".join(" with ".join(f"`{key}`" for key in keys) for keys in formats.values())
    likely = [required for required in OPTIONAL if all(_likely_key(f, record) for f in required)]
    chosen = (likely or [("prompt", "completion")])[0]
    flags = " ".join([*(_suggested_flag(f, record) for f in chosen), *_flags_of_optional(chosen, record)])
    raise DataError(f"{origin}: needs {wanted}, but the fields found are: {keys_found}; set {flags}")


def _flags_of_optional(required: tuple[str, ...], record: dict[str, Any]) -> list[str]:
    """Settings for texts under a usual name that are read where a format is completed."""
    with_text = [key for key, value in record.items() if isinstance(value, str) and value.strip()]
    return [
        _suggested_flag(field, with_text)
        for field in OPTIONAL[required]
        if _likely_key(field, with_text) not in (None, getattr(DEFAULT_FIELDS, field))
    ]


def refuse_sharegpt(turns: list[Any], name: str, origin: str) -> None:
    """Messages with `from` and `value` are refused with what to rename, whatever their list is called."""
    if any(isinstance(turn, dict) and "from" in turn and "value" in turn for turn in turns):
        renamed = "`from` to `role` (human is user, gpt is assistant) and `value` to `content`"
        problem = "holds messages with `from` and `value`, which are not read"
        fail(origin, name, f"{problem}; rename {renamed}, as docs/data.md shows")


def _likely_key(field: str, keys: Iterable[str]) -> str | None:
    """The key that other data sets use for this field, if the record has one."""
    return next((key for key in keys if key.lower() in _USUAL_NAMES[field]), None)


def _suggested_flag(field: str, keys: Iterable[str]) -> str:
    return f"--config.data.fields.{field}={_likely_key(field, keys) or 'NAME'}"
