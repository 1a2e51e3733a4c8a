"""Texts of a record: whole ones, and contents that are written in parts."""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from im_jax.data.records.refusals import described, fail, shown

_PART_OF_TEXT: Final = ("type", "text")


def required_text(record: dict[str, Any], key: str, where: str, origin: str) -> str:
    """The text of a field. Raises `DataError` where there is none."""
    text = optional_text(record, key, where, origin)
    if not text:
        refuse_empty(record, key, where, origin)
    return text


def refuse_empty(record: Mapping[str, Any], key: str, where: str, origin: str) -> NoReturn:
    """Stop at a field that has no text. Raises `DataError`, which says whether it is there."""
    fail(origin, where, empty_text(record, key))


def empty_text(record: Mapping[str, Any], key: str) -> str:
    """What is wrong with a field that has no text, and what to do."""
    problem = "is missing" if key not in record else "is null"
    problem = problem if record.get(key) is None else f"is empty: {shown(record[key])}"
    return f"{problem}; give it some text or remove the record"


def optional_text(record: dict[str, Any], key: str, where: str, origin: str) -> str:
    """The text, or "" where it is absent or only white space (table exports fill absent cells so)."""
    value = record.get(key)
    if value is None:
        return ""
    text = checked_text(value, where, origin)
    return text if text.strip() else ""


def checked_text(value: object, where: str, origin: str) -> str:
    """A value that has to be a text. Raises `DataError` where it is none, or cannot be written as UTF-8."""
    if not isinstance(value, str):
        fail(origin, where, f"is {described(value)}; must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON can write half of a surrogate pair; no UTF-8 text and no tokenizer can hold one.
        bad = shown(value[error.start])
        problem = f"holds {bad} at character {error.start + 1}, half of a surrogate pair"
        fail(origin, where, f"{problem}, which cannot be encoded as UTF-8; write the whole character")
    return value


def content_text(record: dict[str, Any], key: str, where: str, origin: str) -> str:
    """A content: a text, or a list of its parts, which are joined as they stand.

        [{"type": "text", "text": "Which bird "}, {"type": "text", "text": "is this?"}]
        ["Which bird ", "is this?"]

    Raises:
        DataError: a part is no text, such as an image; or it is neither.
    """
    value = record.get(key)
    if isinstance(value, list):
        text = "".join(_part(part, f"{where}[{i}]", origin) for i, part in enumerate(value))
        return text if text.strip() else ""
    if isinstance(value, dict):
        fail(origin, where, f"is {described(value)}; must be a string: write the object as JSON text")
    return optional_text(record, key, where, origin)


def _part(part: object, where: str, origin: str) -> str:
    if isinstance(part, str):
        return checked_text(part, where, origin)
    if not isinstance(part, dict):
        fail(origin, where, f"is {described(part)}; must be a text, or an object with `type` and `text`")
    if (kind := part.get("type")) != "text":
        problem = "is missing" if kind is None else f"is {shown(kind)}"
        fail(origin, f"{where}.type", f"{problem}; only parts of type 'text' are read; remove the record")
    for name, value in part.items():
        if name not in _PART_OF_TEXT and value:
            fail(origin, f"{where}.{name}", "is not read; remove the field or the record")
    if part.get("text") is None:
        refuse_empty(part, "text", f"{where}.text", origin)
    return checked_text(part["text"], f"{where}.text", origin)
