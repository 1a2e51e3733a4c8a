"""What is asked of the turns of a conversation together: who may speak when, and that each says something."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from im_jax.data.records.conversation import Message
from im_jax.data.records.refusals import fail
from im_jax.data.records.texts import refuse_empty


class Turn(NamedTuple):
    """A message, and where it was read."""

    message: Message
    parent: Mapping[str, Any]
    """The object that holds its text."""
    key: str
    """Of the text, in `parent`."""
    where: str = ""
    """Of `parent`, in the record; empty: it is the record."""

    def field(self, key: str) -> str:
        """What a field of `parent` is called."""
        return f"{self.where}.{key}" if self.where else key


def checked(turns: Sequence[Turn], origin: str, field: str) -> tuple[Message, ...]:
    """The messages of a conversation.

    Args:
        turns: in order.
        origin: where the record was read.
        field: the one that holds the turns, for errors.

    Raises:
        DataError: a turn that may not stand where it does, or without text; or nobody answers.
    """
    for at, turn in enumerate(turns):
        if not turn.message.says_something:
            refuse_empty(turn.parent, turn.key, turn.field(turn.key), origin)
        role = turn.message.role
        if role == "system" and at:
            fail(origin, turn.field("role"), "is 'system'; only the first message may be one")
        if role == "assistant" and (not at or turns[at - 1].message.role == "system"):
            fail(origin, turn.field("role"), "is 'assistant'; the user must speak first")
        if role == "tool" and (not at or turns[at - 1].message.role not in ("assistant", "tool")):
            fail(origin, turn.field("role"), "is that of a tool, but no call of the assistant is before it")
    if all(turn.message.role != "assistant" for turn in turns):
        fail(origin, field, "has no assistant message; add the answer to learn")
    return tuple(turn.message for turn in turns)
