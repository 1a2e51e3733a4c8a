"""Whether a template wrote each part of a conversation once, whole and in order."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from im_jax.data.records.conversation import Message
from im_jax.data.templates.attribution import AttributionError, Stretch
from im_jax.data.templates.given import Kind, Part
from im_jax.data.templates.traced import Run

_MARKS: Final = ("<think>", "</think>")
"""What a template may take out of a content, as it writes them, or leaves them out, itself."""
HIDDEN: Final = "the chat template leaves out thoughts of earlier turns"


def check_coverage(
    runs: Sequence[Run], cut: Sequence[Stretch], parts: Sequence[Part], messages: Sequence[Message]
) -> Iterator[str]:
    """Notes on what was left out on purpose.

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
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    for number, part in enumerate(parts):
        if number in whole or not part.text.strip():
            continue
        missing = _missing(part, sorted(written.get(number, ())), messages)
        if not missing:
            continue
        if part.kind is Kind.THOUGHT and number not in written and part.message != last_answer:
            yield HIDDEN
            continue
        _refuse_missing(part, messages)


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
    raise AttributionError(f"leaves out the {part.kind.value} of {whose}", advice)


def _check_order(cut: Sequence[Stretch], messages: Sequence[Message]) -> None:
    order = [s.part.message for s in cut if s.part and messages[s.part.message].role != "system"]
    if order != sorted(order):
        raise AttributionError("writes messages in another order", "use a template that keeps their order")


def _whose(part: Part, messages: Sequence[Message]) -> str:
    role = messages[part.message].role
    return f"{'an' if role == 'assistant' else 'a'} {role} message, message {part.message + 1}"
