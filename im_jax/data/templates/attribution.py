"""From what a template wrote, and whose characters it is, to pieces of a class each.

The runs of the text say which characters are contents; the marks say at which message the loop was that wrote
the rest. Behind the last part of a message comes what closes it, up to where the next turn begins; before the
first part is what opens it:

    written      <|user|>   ①   </s>\\n   <|assistant|>   ②   </s>\\n
    turn         0 ----------------- 0   1 ------------------------ 1
    class        header   user  separator     header  assistant  stop, separator

What an answer's header has beyond the generation prompt is the answer's (`answers`), and what the generation
prompt has beyond the header is not. What stands between the parts of an answer is the answer's. Text
outside of turns opens the message that follows, or is a tail.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from im_jax.data.records.conversation import Message
from im_jax.data.templates.given import CONTENT_CLASS, Kind, Part
from im_jax.data.templates.rendering import Piece
from im_jax.data.templates.traced import Enter, Leave, Lost, Run, Traced, Turn
from im_jax.token_classes import TokenClass

_CALL: Final = (Kind.NAME, Kind.ARGUMENTS)


class AttributionError(Exception):
    """What a template wrote cannot be attributed: says what the template does, and what to do about it."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.problem, self.advice = problem, advice


class Stretch(NamedTuple):
    """Characters `start:end` of one part, or of the template."""

    start: int
    end: int
    part: Part | None
    turn: int | None
    """The message that the loop was at; None outside of loops over messages."""


def stretches(text: str, parts: Sequence[Part]) -> list[Stretch]:
    """The text cut by parts and turns, without gaps."""
    found: list[Stretch] = []
    turn: int | None = None
    outer: list[int | None] = []
    at = 0

    def literal(end: int) -> None:
        nonlocal at
        if end > at:
            if found and found[-1].part is None and found[-1].turn == turn:
                found[-1] = Stretch(found[-1].start, end, None, turn)
            else:
                found.append(Stretch(at, end, None, turn))
            at = end

    for run in runs_of(text):
        if isinstance(run.part, int):
            part = parts[run.part]
            if part.kind in _CALL and turn not in (None, part.message):
                continue  # a tool is named again where it answers
            literal(run.start)
            found.append(Stretch(run.start, run.end, part, turn))
            at = run.end
            continue
        if isinstance(run.part, Lost):
            _refuse_lost(run.part, parts)
        literal(run.start)
        if isinstance(run.part, Turn):
            turn = run.part.message
        elif isinstance(run.part, Enter):
            outer.append(turn)
        elif isinstance(run.part, Leave):
            turn = outer.pop() if outer else None
    literal(len(text))
    return found


def runs_of(text: str) -> Sequence[Run]:
    """The runs of a text of either kind."""
    return text.runs if isinstance(text, Traced) else ()


def _refuse_lost(part: Lost, parts: Sequence[Part]) -> None:
    owner = parts[part.part] if isinstance(part.part, int) else None
    whose = f"the {owner.kind.value} of message {owner.message + 1}" if owner else "messages"
    raise AttributionError(
        f"changes what it writes with the contents: it applies `{part.operation}` to {whose}",
        "leave this example out, or use a template that writes contents as they are",
    )


@dataclass
class Attribution:
    """Makes pieces of one text.

    Input: the text, its stretches, the messages; `begin`, which says how much of an answer's header the
        generation prompt has, and `stop`, which finds the stop in what closes an answer.
    Output: `pieces()`.
    """

    text: str
    cut: list[Stretch]
    messages: Sequence[Message]
    begin: Callable[[int, str, str, bool, str], int]
    """Of a message, the closing of what is before it, its header, whether its content follows, and with which
    mark of a thought: how many characters of both are header."""
    stop: Callable[[str, bool], tuple[int, int] | None]
    """Of a closing, and whether an answer's own text is before it: where the stop is; None: nowhere."""
    bos: str = ""

    def pieces(self) -> list[Piece]:
        """Pieces that cover the text, in order."""
        groups = [
            (turn, list(group)) for turn, group in itertools.groupby(self.cut, lambda stretch: stretch.turn)
        ]
        made: list[Piece] = []
        for number, (turn, group) in enumerate(groups):
            if turn is not None or any(s.part for s in group):
                made += self._group(turn, group)
            elif number + 1 < len(groups):
                following = groups[number + 1]
                first = next((s.part.message for s in following[1] if s.part), following[0])
                made += self._opening(_text(self.text, group), first or 0)
            else:
                self._tail(_text(self.text, group), made)
        self._check_stops(made)
        return made

    def _group(self, turn: int | None, group: list[Stretch]) -> Iterator[Piece]:
        parts = [s for s in group if s.part]
        if not parts:
            assert turn is not None
            yield from self._without_parts(turn, _text(self.text, group), group[0].start)
            return
        last: Part | None = None
        prompted = 0
        for i, (start, end, part, _) in enumerate(group):
            text = self.text[start:end]
            if part is not None:
                last = part
                yield Piece(text[:prompted], TokenClass.HEADER, part.message)
                yield Piece(text[prompted:], part.token_class, part.message)
                prompted = 0
            elif last is None:
                following = next(s.part for s in group[i:] if s.part)
                mark = self._mark(group[i + 1 : i + 3])
                prompted = yield from self._header(turn, following, text, mark, start)
            elif (nearest := next((s.part for s in group[i:] if s.part), None)) is None:
                yield from self._closing(last, text)
            else:
                yield self._between(last, nearest, text)

    def _mark(self, group: Sequence[Stretch]) -> str:
        """What a content has before a thought in it, if that is how these stretches begin."""
        if len(group) < 2 or not (group[0].part and group[1].part):
            return ""
        if (group[0].part.kind, group[1].part.kind) != (Kind.CONTENT, Kind.THOUGHT):
            return ""
        return _text(self.text, group[:1])

    def _header(
        self, turn: int | None, part: Part, text: str, mark: str, start: int
    ) -> Generator[Piece, None, int]:
        """What stands, from `start`, before the first part of a turn.

        Returns how much of the mark behind it is prompted.
        """
        message, kind = part.message, part.kind
        if self.messages[message].role != "assistant":
            yield from self._opening(text, message)
            return 0
        if turn != message:
            self._refuse_outside(message)
        kept = self.begin(message, self._closing_before(start), text, kind is Kind.CONTENT, mark)
        yield from self._opening(text[:kept], message)
        yield Piece(text[kept:], TokenClass.ASSISTANT, message, own=True)
        return max(kept - len(text), 0)

    def _refuse_outside(self, message: int) -> NoReturn:
        raise AttributionError(
            f"writes message {message + 1} (assistant) outside of its turn in a loop over the messages, "
            "so that its header cannot be told from what closes the message before it",
            "use a template that loops over the messages",
        )

    def _opening(self, text: str, message: int) -> Iterator[Piece]:
        bos = self.bos if text.startswith(self.bos) else ""
        yield Piece(bos, TokenClass.BOS, message)
        yield Piece(text[len(bos) :], TokenClass.HEADER, message)

    def _between(self, before: Part, after: Part, text: str) -> Piece:
        """Template text between two parts of one turn."""
        role = self.messages[before.message].role
        if before.message != after.message:
            if role == "assistant":
                raise AttributionError(
                    f"does not tell where message {before.message + 1} (assistant) ends, since it writes the "
                    "next one in the same turn of its loop",
                    "use a template that writes one message in each turn",
                )
            if self.messages[after.message].role == "assistant":
                self._refuse_outside(after.message)
            return Piece(text, TokenClass.HEADER, after.message)
        if before.kind is after.kind or before.call == after.call >= 0:
            return Piece(text, before.token_class, before.message, own=True)
        return Piece(text, CONTENT_CLASS[role], before.message, own=True)

    def _closing(self, last: Part, text: str) -> Iterator[Piece]:
        """What stands behind the last part of a turn."""
        if self.messages[last.message].role != "assistant":
            yield Piece(text, TokenClass.SEPARATOR, last.message)
            return
        yield from self._stopped(last.message, text, last.kind is Kind.CONTENT)

    def _stopped(self, message: int, text: str, after_content: bool) -> Iterator[Piece]:
        found = self.stop(text, after_content)
        if found is None:
            yield Piece(text, TokenClass.SEPARATOR, message)
            return
        start, end = found
        yield Piece(text[:start], TokenClass.ASSISTANT, message, own=True)
        yield Piece(text[start:end], TokenClass.STOP, message)
        yield Piece(text[end:], TokenClass.SEPARATOR, message)

    def _without_parts(self, turn: int, text: str, start: int) -> Iterator[Piece]:
        """A turn in which nothing of a message is written: it is empty, or stands elsewhere."""
        if self.messages[turn].role != "assistant":
            yield from self._opening(text, turn)
            return
        kept = self.begin(turn, self._closing_before(start), text, False, "")
        yield from self._opening(text[:kept], turn)
        yield from self._stopped(turn, text[kept:], False)

    def _closing_before(self, start: int) -> str:
        """Template text from the last part before `start`, as `begin` sees it in the prompt."""
        return self.text[max((s.end for s in self.cut if s.part and s.end <= start), default=0) : start]

    def _tail(self, text: str, made: list[Piece]) -> None:
        """Text behind the last turn: the stop of an answer that has none yet, else a separator."""
        last = len(self.messages) - 1
        answered = self.messages[last].role == "assistant"
        while made and not made[-1].text:
            made.pop()
        if answered and text.strip() and made and made[-1].token_class is not TokenClass.STOP:
            own = [p for p in made if p.message == last]
            if all(p.token_class is not TokenClass.STOP for p in own):
                stop = len(text.rstrip())
                made += [
                    Piece(text[:stop], TokenClass.STOP, last),
                    Piece(text[stop:], TokenClass.SEPARATOR, last),
                ]
                return
        made.append(Piece(text, TokenClass.SEPARATOR, last))

    def _check_stops(self, made: list[Piece]) -> None:
        stopped = {piece.message for piece in made if piece.token_class is TokenClass.STOP and piece.text}
        for i, message in enumerate(self.messages):
            if message.role == "assistant" and i not in stopped:
                raise AttributionError(
                    f"writes no stop after message {i + 1}, so the model would never learn to stop",
                    "make it write eos_token after each assistant message",
                )


def _text(text: str, group: Sequence[Stretch]) -> str:
    return text[group[0].start : group[-1].end]
