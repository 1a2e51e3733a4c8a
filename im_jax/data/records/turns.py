"""What is asked of the turns of a conversation together, and what is done where they are otherwise.

Some of it every conversation must have. The rest is the user's choice, in this order, each rule on what the
ones before it left (`data.turns`):

    empty             a turn of user or assistant without text
    first_assistant   the assistant speaks before the user
    repeated          several turns of user or assistant in a row
    last_user         the user speaks last

What tools say is no turn of either: several of their messages in a row answer several calls.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from im_jax.config import CHOICES, TurnsConfig
from im_jax.data.records.conversation import Message
from im_jax.data.records.refusals import fail
from im_jax.data.records.texts import empty_text, refuse_empty
from im_jax.errors import DataError

DEFAULT_TURNS: Final = TurnsConfig()
LEFT_OUT: Final = {
    "empty": "with an empty turn",
    "first_assistant": "that the assistant opens",
    "repeated": "with turns of one role in a row",
    "last_user": "that end with the user",
}
"""Records that a rule leaves out, in words."""
NOTHING_LEFT: Final = "without an answer once turns are left out"
DONE: Final = {
    ("empty", "drop_turn"): "an empty turn left out",
    ("empty", "keep"): "an empty turn kept",
    ("first_assistant", "drop_turn"): "turns before the user's first left out",
    ("repeated", "keep"): "turns of one role in a row kept",
    ("repeated", "merge"): "turns of one role in a row merged",
    ("repeated", "drop_turn"): "turns of one role in a row left out but for the last",
    ("last_user", "keep"): "a last turn of the user kept",
    ("last_user", "drop_turn"): "turns behind the last answer left out",
}
"""What a rule does with a conversation that stays, in words."""
_SPEAKERS: Final = ("user", "assistant")
_BEFORE_TOOL: Final = ("assistant", "tool")


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


class TurnsError(DataError):
    """A conversation that is refused by a choice of `data.turns`."""

    other_choices = ""
    """What would not refuse it: a flag and its values."""


class LeftOutByTurns(Exception):
    """A record that a choice of `data.turns` leaves out: says why, in the same words for all such records."""


class Settled(NamedTuple):
    """The messages of a conversation, and what was done with its turns: see `DONE`."""

    messages: tuple[Message, ...]
    done: tuple[str, ...]


def settle(turns: Sequence[Turn], origin: str, field: str, choices: TurnsConfig = DEFAULT_TURNS) -> Settled:
    """Ask of turns what every conversation must have, and do what was chosen.

    Args:
        turns: in order.
        origin: where the record was read.
        field: the one that holds the turns, for errors.
        choices: what to do.

    Raises:
        DataError: a system message that is not the first, what a tool says without a call before it, no
            answer, or a `TurnsError`.
        LeftOutByTurns: the record is to be left out.
    """
    for turn in turns[1:]:
        if turn.message.role == "system":
            fail(origin, turn.field("role"), "is 'system'; only the first message may be one")
    rules = _Rules(choices, origin)
    left = rules.last_user(rules.repeated(rules.first_assistant(rules.empty(turns))))
    for before, turn in zip([None, *left], left, strict=False):
        if turn.message.role == "tool" and (before is None or before.message.role not in _BEFORE_TOOL):
            problem = "is that of a tool, but no call of the assistant is before it"
            fail(origin, turn.field("role"), problem)
    if all(turn.message.role != "assistant" for turn in left):
        if any(turn.message.role == "assistant" for turn in turns):
            raise LeftOutByTurns(NOTHING_LEFT)
        fail(origin, field, "has no assistant message; add the answer to learn")
    return Settled(tuple(turn.message for turn in left), tuple(rules.done))


class _Rules:
    """The rules for one conversation, each from turns to turns."""

    def __init__(self, choices: TurnsConfig, origin: str) -> None:
        self._choices, self._origin = choices, origin
        self.done: dict[str, None] = {}

    def empty(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        if all(turn.message.content for turn in turns):
            return turns
        return [turn for turn in turns if self._says_something(turn) or self._empty(turn) == "keep"]

    def first_assistant(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        first = next((at for at, turn in enumerate(turns) if turn.message.role != "system"), len(turns))
        if first == len(turns) or turns[first].message.role != "assistant":
            return turns
        problem = "is 'assistant'; the user must speak first"
        self._decide("first_assistant", turns[first].field("role"), problem)
        users = (at for at, turn in enumerate(turns) if turn.message.role == "user")
        return [*turns[:first], *turns[next(users, len(turns)) :]]

    def repeated(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        if not any(_same_speaker(*pair) for pair in itertools.pairwise(turns)):
            return turns
        left: list[Turn] = []
        for turn in turns:
            if left and _same_speaker(left[-1], turn):
                problem = f"is {turn.message.role!r}, as the one before it"
                choice = self._decide("repeated", turn.field("role"), problem)
                if choice != "keep":
                    before = left.pop()
                    turn = self._merged(before, turn) if choice == "merge" else turn
            left.append(turn)
        return left

    def last_user(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        if not turns or turns[-1].message.role != "user":
            return turns
        problem = "is 'user'; the assistant does not answer"
        if self._decide("last_user", turns[-1].field("role"), problem) == "keep":
            return turns
        behind = itertools.takewhile(lambda turn: turn.message.role == "user", reversed(turns))
        return turns[: len(turns) - len(list(behind))]

    def _says_something(self, turn: Turn) -> bool:
        """Raises `DataError` where nothing can be chosen: of a system message, and beside other text."""
        if turn.message.says_something:
            return True
        if turn.message.role == "system" or turn.message.input:
            refuse_empty(turn.parent, turn.key, turn.field(turn.key), self._origin)
        return False

    def _empty(self, turn: Turn) -> str:
        return self._decide("empty", turn.field(turn.key), empty_text(turn.parent, turn.key))

    def _merged(self, before: Turn, after: Turn) -> Turn:
        """Both as one, the text of the first above that of the second."""
        first, second = before.message, after.message
        if first.weight != second.weight:
            problem = f"is {second.weight:g}, but that of the turn before it is {first.weight:g}"
            self._refuse("repeated", after.field("weight"), f"{problem}: only equal weights are merged")
        if first.tool_calls or second.thought:
            why = "that one calls tools" if first.tool_calls else "this one thinks before it"
            problem = f"cannot be merged with that of the turn before it, since {why}"
            self._refuse("repeated", after.field(after.key), problem)
        text = "\n\n".join(text for text in (first.text, second.content) if text)
        message = dataclasses.replace(second, content=text, thought=first.thought)
        return before._replace(message=message)

    def _decide(self, rule: str, field: str, problem: str) -> str:
        """The choice, where it is one by which the conversation stays."""
        choice: str = getattr(self._choices, rule)
        if choice == "stop":
            self._refuse(rule, field, problem)
        if choice == "skip":
            raise LeftOutByTurns(LEFT_OUT[rule])
        self.done[DONE[rule, choice]] = None
        return choice

    def _refuse(self, rule: str, field: str, problem: str) -> NoReturn:
        error = TurnsError(f"{self._origin}: field `{field}` {problem}")
        chosen = getattr(self._choices, rule)
        others = [each for each in CHOICES[f"data.turns.{rule}"] if each not in ("stop", chosen)]
        error.other_choices = f"--config.data.turns.{rule}={', '.join(others[:-1])} or {others[-1]}"
        raise error


def _same_speaker(before: Turn, after: Turn) -> bool:
    return before.message.role == after.message.role and after.message.role in _SPEAKERS
