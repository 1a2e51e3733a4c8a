"""Text of a record that nothing reads: refused where the answer makes no sense without it, else counted."""

from collections.abc import Iterable
from typing import Any, Final

from im_jax.data.records.refusals import fail

_TOOLS: Final = ("tool_calls", "function_call", "tools", "functions")
_MEDIA: Final = ("image", "images", "video", "videos", "audio", "audios")
_OF_MESSAGE: Final = (*_TOOLS, "reasoning_content", "reasoning", "thinking", "refusal", *_MEDIA)
"""Parts of a message beside its `content`, which the model would have to write or to see."""
_OF_RECORD: Final = (*_TOOLS, "reasoning_content", *_MEDIA)
_READ_OF_MESSAGE: Final = ("role", "content", "input", "weight")


def refuse_parts(record: dict[str, Any], read: set[str], origin: str) -> None:
    """Stop at a part of a record that is no text of its messages, such as tools or images.

    Raises:
        DataError: naming the field.
    """
    _refuse(record, [key for key in _OF_RECORD if key not in read], "", origin)


def refuse_message_parts(turn: dict[str, Any], where: str, origin: str) -> None:
    """Stop at what a message says beside its `content`. Raises `DataError`, naming the field."""
    _refuse(turn, _OF_MESSAGE, f"{where}.", origin)


def _refuse(value: dict[str, Any], keys: Iterable[str], prefix: str, origin: str) -> None:
    for key in keys:
        if holds_something(value.get(key)):
            problem = "is not read, and the answer would be learned without it"
            fail(origin, f"{prefix}{key}", f"{problem}; remove the field or the record")


def holds_something(value: object) -> bool:
    """Whether a value is more than null, white space, or an empty list or object."""
    if isinstance(value, str):
        return bool(value.strip())
    return bool(value) if isinstance(value, list | dict) else value is not None


def unread_fields(
    record: dict[str, Any], read: set[str], turns: str | None, known: set[str]
) -> tuple[str, ...]:
    """Names of fields that nothing reads: of the record, those with text in them; of messages, any.

    Args:
        record: a usable record.
        read: the fields of it that are read.
        turns: the one that holds messages, if any does.
        known: fields of a message that are read.
    """
    found = [key for key, value in record.items() if key not in read and _holds_text(value)]
    if turns is not None:
        names = {key: None for turn in record[turns] for key, value in turn.items() if holds_something(value)}
        found += [f"{turns}[].{key}" for key in names if key not in (*_READ_OF_MESSAGE, *known)]
    return tuple(found)


def _holds_text(value: object) -> bool:
    """Whether there is a text in it, however deep."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) and part.strip():
            return True
        if isinstance(part, list | dict):
            waiting += part.values() if isinstance(part, dict) else part
    return False
