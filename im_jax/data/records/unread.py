"""Text of a record that nothing reads: refused where the answer makes no sense without it, else counted."""

from collections.abc import Sequence
from typing import Any, Final

from im_jax.data.records.conversation import Message
from im_jax.data.records.message import unread_of
from im_jax.data.records.refusals import fail
from im_jax.data.records.tools import CALLS
from im_jax.data.records.values import holds_something, holds_text

_OF_RECORD: Final = (*CALLS, "reasoning_content", "image", "images", "video", "videos", "audio", "audios")


def refuse_parts(record: dict[str, Any], read: set[str], origin: str) -> None:
    """Stop at a part of a record that is no text of its messages, such as images.

    Raises:
        DataError: naming the field.
    """
    for key, value in record.items():
        if key in _OF_RECORD and key not in read and holds_something(value):
            problem = "is not read, and the answer would be learned without it"
            fail(origin, key, f"{problem}; remove the field or the record")


def said_again(record: dict[str, Any], prompt: str, messages: Sequence[Message]) -> set[str]:
    """The field of a prompt that is the first text of the user: No Robots and UltraChat have both."""
    text, first = record.get(prompt), next((m for m in messages if m.role == "user"), None)
    again = isinstance(text, str) and first is not None and text.strip() == first.content.strip()
    return {prompt} if again else set()


def unread_fields(record: dict[str, Any], read: set[str], lists: Sequence[str]) -> tuple[str, ...]:
    """Names of fields that nothing reads: of the record, those with text in them; of messages, any.

    Args:
        record: a usable record.
        read: the fields of it that are read.
        lists: those that hold messages.
    """
    found = [key for key, value in record.items() if key not in read and holds_text(value)]
    for name in lists:
        names = dict.fromkeys(key for turn in record[name] for key in unread_of(turn))
        found += [f"{name}[].{key}" for key in names]
    return tuple(found)
