"""Conversations: what every record becomes, and every template writes."""

from dataclasses import dataclass
from typing import Final, NamedTuple

ROLES: Final = ("system", "user", "assistant", "tool")


class ToolCall(NamedTuple):
    """A call that the assistant writes."""

    name: str
    """Of the tool."""
    arguments: str
    """JSON text; character by character that of the record, where it has a text."""
    as_text: bool = True
    """Whether the record has the arguments as a text; else as an object, which templates write otherwise."""
    id: str = ""
    """By which the tool's message answers it, where the record has one."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """One of `ROLES`."""
    content: str
    """Empty only where the assistant thinks or calls tools and says nothing, a tool answers nothing, or with
    `data.turns.empty=keep`."""
    weight: float = 1.0
    """Multiplies the loss weight of the message's tokens; a float32 value, as in `Batch`."""
    input: str = ""
    """Second part of a user message, which some templates give a heading of its own."""
    thought: str = ""
    """What the assistant thinks before its `content`, where the record tells it apart."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of the assistant, after its `content`."""
    name: str = ""
    """Of the tool that answers, where the record says it."""
    tool_call_id: str = ""
    """`ToolCall.id` that a tool answers, where the record says it."""

    @property
    def says_something(self) -> bool:
        """Whether it is no empty turn: what a tool answers may be empty."""
        return bool(self.content or self.thought or self.tool_calls) or self.role == "tool"

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
    tools: tuple[str, ...] = ()
    """JSON text of each tool that the assistant may call, as the record describes it."""
    turn_choices: tuple[str, ...] = ()
    """What choices of `data.turns` did with it: see `turns.DONE`."""
