"""Whether a template wrote each part of a conversation once, whole and in order, and its list of tools."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from im_jax.data.records.conversation import Message
from im_jax.data.templates.attribution import AttributionError, Stretch
from im_jax.data.templates.given import Kind, Part
from im_jax.data.templates.traced import Run
from im_jax.text import in_one_line

_MARKS: Final = ("<think>", "</think>")
"""What a template may take out of a content, as it writes them, or leaves them out, itself."""
HIDDEN: Final = "the chat template leaves out thoughts of earlier turns"
HIDDEN_OF_CALLS: Final = "the chat template leaves out thoughts of calls that an answer follows"
HIDDEN_NOTES: Final = frozenset([HIDDEN, HIDDEN_OF_CALLS])


class LeftOutError(AttributionError):
    """A template leaves out text, or a tool."""


def check_coverage(
    runs: Sequence[Run],
    cut: Sequence[Stretch],
    parts: Sequence[Part],
    messages: Sequence[Message],
    thoughts_beside: bool,
) -> Iterator[str]:
    """Notes on what was left out on purpose.

    Args:
        runs: of what was written.
        cut: the same in stretches.
        parts: what was given.
        messages: of the conversation.
        thoughts_beside: whether thoughts that the data has apart were given beside the contents.

    Raises:
        AttributionError: text is left out, written twice, or in another order.
    """
    _check_order(cut, messages)
    written: dict[int, list[tuple[int, int]]] = {}
    for run in runs:
        if isinstance(run.part, int) and run.end > run.start:
            written.setdefault(run.part, []).append((run.source, run.source + run.length))
    objects = [parts[number].values for number in written if parts[number].values]
    whole = {value for values in objects for value in values}
    last_answer, last_question = _last("assistant", messages), _last("user", messages)
    for number, part in enumerate(parts):
        if number in whole or not part.text.strip():
            continue
        missing = _missing(part, sorted(written.get(number, ())), messages)
        if not missing:
            continue
        is_hidden = part.kind is Kind.THOUGHT and number not in written and part.message != last_answer
        if is_hidden and part.message < last_question:
            yield HIDDEN
        elif is_hidden and thoughts_beside and messages[part.message].thought:
            yield HIDDEN_OF_CALLS
        else:
            _refuse_missing(part, messages)


def _last(role: str, messages: Sequence[Message]) -> int:
    return max((i for i, message in enumerate(messages) if message.role == role), default=-1)


def check_tools(text: str, cut: Sequence[Stretch], tools: Sequence[Any], messages: Sequence[Message]) -> None:
    """Stop where a tool is named neither before the messages nor in a turn of the system or the user.

    Raises:
        AttributionError: a tool is left out: calls would be learned that nothing offers.
    """
    if not tools:
        return
    offering = "".join(
        text[s.start : s.end]
        for s in cut
        if s.part is None and (s.turn is None or messages[s.turn].role in ("system", "user"))
    )
    for tool in tools:
        name = _name(tool)
        if name not in offering and json.dumps(name)[1:-1] not in offering:
            raise LeftOutError(
                f"leaves out the tool {in_one_line(name)!r} of the conversation's list",
                "remove `tools` from the data, or use a template that writes them",
            )


def _name(tool: Any) -> str:
    """What a tool is called: by OpenAI's schema, by a bare one, or by its type alone."""
    schema = tool.get("function", tool) if isinstance(tool, dict) else tool
    name = (schema.get("name") or schema.get("type")) if isinstance(schema, dict) else schema
    return name if isinstance(name, str) else ""


def _missing(part: Part, written: list[tuple[int, int]], messages: Sequence[Message]) -> str:
    """Visible text of a part that is not written."""
    left, at = [], 0
    for start, end in written:
        if start < at and part.kind in (Kind.CONTENT, Kind.THOUGHT):
            times = max(Counter(begin for begin, _ in written).values())
            whose = _whose(part, messages)
            raise AttributionError(
                f"writes {max(times, 2)} times the {part.kind.value} of {whose}",
                "use a template that writes every message once",
            )
        left.append(part.text[at:start])
        at = max(at, end)
    left.append(part.text[at:])
    visible = "".join(left)
    for mark in _MARKS if messages[part.message].role == "assistant" else ():
        visible = visible.replace(mark, "")
    return visible.strip()


def _refuse_missing(part: Part, messages: Sequence[Message]) -> None:
    whose = _whose(part, messages)
    if part.kind is Kind.CONTENT:
        advice = "remove it from the data, or use a template that writes every message once"
    else:
        advice = "remove it from the data, or use a template that writes it"
    raise LeftOutError(f"leaves out the {part.kind.value} of {whose}", advice)


def _check_order(cut: Sequence[Stretch], messages: Sequence[Message]) -> None:
    order = [s.part.message for s in cut if s.part and messages[s.part.message].role != "system"]
    if order != sorted(order):
        raise AttributionError("writes messages in another order", "use a template that keeps their order")


def _whose(part: Part, messages: Sequence[Message]) -> str:
    role = messages[part.message].role
    return f"{'an' if role == 'assistant' else 'a'} {role} message, message {part.message + 1}"
