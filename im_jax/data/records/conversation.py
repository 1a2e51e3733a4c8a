"""Conversations: what every record becomes, and every template writes."""

from dataclasses import dataclass
from typing import Final

ROLES: Final = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """One of `ROLES`."""
    content: str
    weight: float = 1.0
    """Multiplies the loss weight of the message's tokens; a float32 value, as in `Batch`."""
    input: str = ""
    """Second part of a user message, which some templates give a heading of its own."""

    @property
    def text(self) -> str:
        """The whole message for templates that know no separate input."""
        return f"{self.content}\n\n{self.input}" if self.input else self.content


@dataclass(frozen=True)
class Conversation:
    """One example: an optional system message, then turns that start with the user."""

    id: str
    messages: tuple[Message, ...]
    origin: str
    """Where it was read, as `file:line`, for error messages."""
    unread: tuple[str, ...] = ()
    """Fields of the record whose text is no part of the conversation."""
