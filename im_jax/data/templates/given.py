"""What a chat template is given of a conversation: messages of traced texts, and what each part of them is.

    messages   user "Tide?", assistant "" that thinks "Ask." and calls tide(port="Hull")
    parts      0 content of message 0; 1 thought, 2 name, 3 value of an argument, 4 arguments of message 1

Thoughts are given beside the content, under the names that templates read, or in it between `<think>` and
`</think>`; arguments as an object or as JSON text; an absent content as "" or as none. Which of these a
template wants is tried out, in the order of `FORMS`.
"""

import enum
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from im_jax.data.records.conversation import Message, ToolCall
from im_jax.data.templates.traced import Run, concat, traced
from im_jax.token_classes import TokenClass

CONTENT_CLASS: Final = {
    "system": TokenClass.SYSTEM,
    "user": TokenClass.USER,
    "assistant": TokenClass.ASSISTANT,
    "tool": TokenClass.TOOL,
}
"""Class of a message's content by its role."""
THOUGHT_NAMES: Final = ("reasoning_content", "reasoning", "thinking")
"""What templates call the thought of a message."""
_THOUGHT_IN_CONTENT: Final = re.compile(r"(\s*(?:<think>)?\s*)(.*?)\s*</think>", re.DOTALL)
_ID_LENGTH: Final = 9
"""Of the ids that calls get which have none: Mistral's templates refuse others."""


class Kind(enum.Enum):
    """What a part is of its message; values are what errors call it."""

    CONTENT = "text"
    THOUGHT = "thought"
    NAME = "name of a tool"
    ARGUMENTS = "arguments of a call"


class Part(NamedTuple):
    """Text that belongs to a message."""

    message: int
    kind: Kind
    token_class: TokenClass
    text: str
    """Empty for an object, whose text is JSON that the template has made."""
    call: int = -1
    values: range = range(0)
    """Numbers of the parts that an object holds."""


class Form(NamedTuple):
    """How a template wants what not all templates take alike."""

    thought_in_content: bool = False
    content_of_calls: str | None = ""
    arguments_as_text: bool = False


FORMS: Final = tuple(
    Form(inside, content, as_text)
    for inside in (False, True)
    for as_text in (False, True)
    for content in ("", None)
)


class GivenMessage(dict[str, Any]):
    """A message as templates read it; it knows its number."""

    __slots__ = ("number",)
    number: int


class GivenObject(dict[str, Any]):
    """An object in the arguments of a call; it knows its part."""

    __slots__ = ("part",)
    part: int


@dataclass(frozen=True)
class Given:
    """Messages for a template, and the parts that the runs of their texts name."""

    messages: list[GivenMessage]
    tools: list[Any] | None
    parts: list[Part]


def matters(form: Form, messages: Sequence[Message]) -> Form:
    """The form, with what makes no difference to these messages as in the first one."""
    calls = [call for message in messages for call in message.tool_calls]
    return Form(
        form.thought_in_content and any(message.thought for message in messages),
        form.content_of_calls if any(m.tool_calls and not m.content for m in messages) else "",
        form.arguments_as_text and bool(calls),
    )


def give(messages: Sequence[Message], tools: Sequence[str], form: Form) -> Given:
    """Traced messages of a conversation."""
    parts: list[Part] = []
    giver = _Giver(parts, form)
    given = [giver.message(i, message) for i, message in enumerate(messages)]
    return Given(given, [json.loads(tool) for tool in tools] or None, parts)


class _Giver:
    """Makes the parts of a conversation, in order."""

    def __init__(self, parts: list[Part], form: Form) -> None:
        self._parts, self._form = parts, form
        self._ids: list[str] = []
        self._calls = 0

    def message(self, number: int, message: Message) -> GivenMessage:
        given = GivenMessage(role=message.role, content=self._content(number, message))
        given.number = number
        if message.thought and not self._form.thought_in_content:
            thought = self._text(Part(number, Kind.THOUGHT, TokenClass.THOUGHT, message.thought))
            given.update(dict.fromkeys(THOUGHT_NAMES, thought))
        if message.tool_calls:
            if not message.content and self._form.content_of_calls is None:
                given["content"] = None
            given["tool_calls"] = [self._call(number, call) for call in message.tool_calls]
            self._ids = [call["id"] for call in given["tool_calls"]]
        if message.name:
            given["name"] = message.name
        if message.role == "tool":
            given["tool_call_id"] = message.tool_call_id or (self._ids.pop(0) if self._ids else "")
        return given

    def _content(self, number: int, message: Message) -> str:
        part = Part(number, Kind.CONTENT, CONTENT_CLASS[message.role], message.text)
        if message.role != "assistant":
            return self._text(part)
        if message.thought and self._form.thought_in_content:
            thought = self._text(Part(number, Kind.THOUGHT, TokenClass.THOUGHT, message.thought))
            return concat(["<think>\n", thought, "\n</think>\n\n", self._text(part)])
        inside = _THOUGHT_IN_CONTENT.match(part.text) if "</think>" in part.text else None
        if inside is None:
            return self._text(part)
        start, end = inside.span(2)
        texts = part.text[:start], inside[2], part.text[end:]
        kinds = part, Part(number, Kind.THOUGHT, TokenClass.THOUGHT, ""), part
        return concat([self._text(k._replace(text=text)) for k, text in zip(kinds, texts, strict=True)])

    def _call(self, number: int, call: ToolCall) -> dict[str, Any]:
        index, self._calls = self._calls, self._calls + 1
        arguments = json.loads(call.arguments) if _is_object(call.arguments) else call.arguments
        name = self._text(Part(number, Kind.NAME, TokenClass.TOOL_CALL, call.name, index))
        if isinstance(arguments, str) or self._form.arguments_as_text:
            given: Any = self._text(Part(number, Kind.ARGUMENTS, TokenClass.TOOL_CALL, call.arguments, index))
        else:
            given = self._value(number, index, arguments)
        return {
            "id": call.id or f"{index + 1:0{_ID_LENGTH}d}",
            "type": "function",
            "function": {"name": name, "arguments": given},
        }

    def _value(self, number: int, call: int, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(Part(number, Kind.ARGUMENTS, TokenClass.TOOL_CALL, value, call))
        if isinstance(value, list):
            return [self._value(number, call, item) for item in value]
        if not isinstance(value, dict):
            return value
        before = len(self._parts)
        given = GivenObject((key, self._value(number, call, item)) for key, item in value.items())
        values = range(before, len(self._parts))
        given.part = self._add(Part(number, Kind.ARGUMENTS, TokenClass.TOOL_CALL, "", call, values))
        return given

    def _text(self, part: Part) -> str:
        if not part.text:
            return ""
        return traced(part.text, (Run(0, len(part.text), self._add(part), 0, len(part.text)),))

    def _add(self, part: Part) -> int:
        self._parts.append(part)
        return len(self._parts) - 1


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
