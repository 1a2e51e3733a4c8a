"""Which of the formats a record has, and what to set where it has none or lacks a field."""

import itertools
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from im_jax.config import FieldNames
from im_jax.data.records.naming import other_names
from im_jax.data.records.refusals import fail, shown
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
    "messages": ("messages", "conversations", "conversation", "dialogue", "chat"),
    "prompt": ("prompt", "question", "query", "problem", "instruction"),
    "completion": _OUTPUT_NAMES,
    "instruction": ("instruction", "task", "question", "prompt"),
    "output": _OUTPUT_NAMES,
    "input": ("input", "context", "passage"),
    "system": ("system", "system_prompt"),
}
_NAMES_SHOWN: Final = 12


class NameCheck:
    """Whether each name that `data.fields` gives is in the data: a text would be missing without a word.

    Records may be seen in several processes, each with a check of its own, which are then merged.
    """

    def __init__(self, fields: FieldNames) -> None:
        """A default name may be absent, and an empty one is switched off."""
        self._unknown = {
            field: name
            for field, name in vars(fields).items()
            if name and name != getattr(DEFAULT_FIELDS, field)
        }
        self._keys: dict[str, None] = {}

    def see(self, record: object) -> None:
        """A decoded record; after all names are found it costs nothing."""
        if self._unknown and isinstance(record, dict):
            self._meet(record)

    def merge(self, other: "NameCheck") -> None:
        """What another check saw, of the same names."""
        self._meet(other._keys)
        self._unknown = {field: name for field, name in self._unknown.items() if field in other._unknown}

    def to_json(self) -> dict[str, Any]:
        """What was found, as JSON holds it; `add_json` adds it to another check of the same names."""
        return {"unknown": list(self._unknown), "keys": list(itertools.islice(self._keys, _NAMES_SHOWN))}

    def add_json(self, told: dict[str, Any]) -> None:
        """See `to_json`."""
        self._meet(told["keys"])
        self._unknown = {field: name for field, name in self._unknown.items() if field in told["unknown"]}

    def _meet(self, keys: Iterable[str]) -> None:
        self._keys |= dict.fromkeys(keys)
        self._unknown = {field: name for field, name in self._unknown.items() if name not in self._keys}

    def refuse_unknown(self, place: str) -> None:
        """Stop at a name that no record has.

        Args:
            place: what was read.

        Raises:
            DataError: naming the field.
        """
        for field, name in self._unknown.items():
            found = ", ".join(shown(key) for key in itertools.islice(self._keys, _NAMES_SHOWN))
            raise DataError(f"data.fields.{field}={name}: no record of {place} has it; fields found: {found}")


def format_of(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[tuple[str, ...], FieldNames]:
    """The one format whose required fields the record all has, and the names it has them under."""
    formats = {required: [getattr(fields, field) for field in required] for required in OPTIONAL}
    complete = _complete(record, fields)
    if len(complete) == 1:
        return complete[0], fields
    if not complete and (others := other_names(record, fields)):
        found_in = [_complete(record, names)[0] for names in others]
        if len(others) == 1:
            return found_in[0], others[0]
        keys = [
            "/".join(getattr(n, f) for f in required) for n, required in zip(others, found_in, strict=True)
        ]
        flags = " ".join(f"--config.data.fields.{f}={getattr(others[0], f)}" for f in found_in[0])
        raise DataError(f"{origin}: has both `{'` and `'.join(keys)}`; choose one, for example {flags}")
    if complete:
        found = " and ".join(f"`{'/'.join(formats[required])}`" for required in complete)
        flag = f"--config.data.fields.{complete[0][0]}="
        raise DataError(f"{origin}: has both {found}; disable one by an empty name, for example {flag}")

    _refuse_unknown_format(record, origin, formats)


def _complete(record: dict[str, Any], fields: FieldNames) -> list[tuple[str, ...]]:
    return [r for r in OPTIONAL if all(record.get(getattr(fields, f)) is not None for f in r)]


def _refuse_unknown_format(
    record: dict[str, Any], origin: str, formats: dict[tuple[str, ...], list[str]]
) -> NoReturn:
    """Names the field that would complete a format, or else the settings that look likeliest."""
    _refuse_questions(record, origin)
    keys_found = ", ".join(shown(key) for key, value in record.items() if value is not None) or "none"
    for required, keys in formats.items():
        for field, key in zip(required, keys, strict=True):
            if record.get(key) is None and any(record.get(other) is not None for other in keys):
                if key in record:
                    fail(origin, key, "is null; give it some text or remove the record")
                flags = " ".join([_suggested_flag(field, record), *_flags_of_optional(required, record)])
                fail(origin, key, f"is missing; add it, or set {flags}; fields found: {keys_found}")
    for field in (field for required in formats for field in required):
        if (key := getattr(DEFAULT_FIELDS, field)) in record and record[key] is None:
            fail(origin, key, "is null; give it some text or remove the record")
    wanted = ", or ".join(" with ".join(f"`{key}`" for key in keys) for keys in formats.values())
    likely = [required for required in OPTIONAL if all(_likely_key(f, record) for f in required)]
    chosen = (likely or [("prompt", "completion")])[0]
    flags = " ".join([*(_suggested_flag(f, record) for f in chosen), *_flags_of_optional(chosen, record)])
    raise DataError(f"{origin}: needs {wanted}, but the fields found are: {keys_found}; set {flags}")


def _refuse_questions(record: dict[str, Any], origin: str) -> None:
    """Stop at turns that may all be the user's, as the questions of MT-Bench are."""
    turns = record.get("turns")
    if isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns):
        fail(
            origin,
            "turns",
            "is a list of texts, which may all be the user's, with no answer to learn; if user and "
            "assistant alternate in it, set --config.data.fields.messages=turns",
        )


def _flags_of_optional(required: tuple[str, ...], record: dict[str, Any]) -> list[str]:
    """Settings for texts under a usual name that are read where a format is completed."""
    with_text = [key for key, value in record.items() if isinstance(value, str) and value.strip()]
    return [
        _suggested_flag(field, with_text)
        for field in OPTIONAL[required]
        if _likely_key(field, with_text) not in (None, getattr(DEFAULT_FIELDS, field))
    ]


def _likely_key(field: str, keys: Iterable[str]) -> str | None:
    """The key that other data sets use for this field, if the record has one."""
    return next((key for key in keys if key.lower() in _USUAL_NAMES[field]), None)


def _suggested_flag(field: str, keys: Iterable[str]) -> str:
    return f"--config.data.fields.{field}={_likely_key(field, keys) or 'NAME'}"
