"""What the time of a run went to, from its events: every microsecond since the first start, once."""

import enum
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from im_jax.errors import ConfigError, DataError
from im_jax.events import ENDS, Event, Happened, file_of, read_events


class Account(enum.StrEnum):
    """What time goes to."""

    START = "start"
    COMPILE = "compile"
    DATA = "data"
    STEP = "step"
    """Steps that were kept, with the wait for their rows."""
    EVALUATION = "evaluation"
    SAVE = "save"
    """As far as steps waited for it, and what is written at the end."""
    RESTORE = "restore"
    WASTED = "wasted"
    """Steps that were taken, and are not in the checkpoint that the run went on from."""
    DOWN = "down"
    """From the last event of an attempt to the start of the next."""


_TAKES_TIME: Final = {
    Happened.DATA: Account.DATA,
    Happened.RESTORE: Account.RESTORE,
    Happened.COMPILE: Account.COMPILE,
    Happened.EVALUATION: Account.EVALUATION,
    Happened.SAVE: Account.SAVE,
}


@dataclass(frozen=True)
class Stretch:
    """Some time that went to one thing."""

    account: Account
    microseconds: int
    done: int = 0
    """Steps that were done before it."""
    until: int | None = 0
    """Of steps: the last one that was done in it. None: it was cut off, and nothing tells how far it got."""


class Attempt(NamedTuple):
    """From a start of the run to its end."""

    number: int
    began: int
    """Microseconds since 1970, UTC."""
    microseconds: int
    host: str
    """Of the first process."""
    went_on_from: int | None
    """The step of the checkpoint; 0: it began anew; None: it did not get so far."""
    reached: int | None
    """The last step that is known to have been done; None: none."""
    ended: str
    """The name of an event, or `killed`; empty: it is the last one, and has no end yet."""
    reason: str
    """With the process that said it, where that is not the first."""


class Ledger(NamedTuple):
    """The accounts of a run."""

    workdir: str
    microseconds: dict[Account, int]
    """Of each account; they add up to all time since the first start."""
    attempts: list[Attempt]
    steps_kept: int
    steps_wasted: int
    """As far as they are known: of an attempt that was killed, those that were logged."""

    @property
    def wall(self) -> int:
        """Microseconds from the first start to the last event."""
        return sum(self.microseconds.values())

    @property
    def goodput(self) -> float:
        """Time of steps that were kept, in percent of all time."""
        return 100 * self.microseconds[Account.STEP] / max(self.wall, 1)

    def ended(self, how: str) -> int:
        """How many attempts ended in one way."""
        return sum(attempt.ended == how for attempt in self.attempts)


KILLED: Final = "killed"


def read_ledger(workdir: pathlib.Path) -> Ledger:
    """The accounts of the run in a directory.

    Raises:
        ConfigError: there are no events.
        DataError: a line is no event, or in another order than events are written in.
    """
    path = file_of(workdir, 0)
    events = read_events(path)
    if not events:
        what = "is no directory" if not workdir.is_dir() else "has no events.jsonl, or no event in it"
        raise ConfigError(f"{workdir} {what}; give the --workdir of a run that was started by this version")
    for number, (before, event) in enumerate(itertools.pairwise(events), start=2):
        if event.attempt < before.attempt:
            raise DataError(
                f"{path}:{number} is of attempt {event.attempt}, behind one of attempt {before.attempt}; "
                "bring back the order in which they were written"
            )
    others = [event for each in sorted((workdir / "events").glob("*.jsonl")) for event in read_events(each)]
    return account(str(workdir), events, others)


def account(workdir: str, events: Sequence[Event], others: Sequence[Event] = ()) -> Ledger:
    """The accounts of events of the first process, in order, with how `others` of its attempts ended.

    A time before that of the event before it counts as that: clocks of hosts differ a little.
    """
    stretches: list[Stretch] = []
    attempts: list[Attempt] = []
    now, last_attempt = events[0].microseconds, events[-1].attempt
    for number, group in itertools.groupby(events, key=lambda event: event.attempt):
        own = list(group)
        began = max(own[0].microseconds, now)
        stretches.append(Stretch(Account.DOWN, began - now))
        added = list(_stretches(own, began))
        came_from = _went_on_from(own)
        if came_from is not None:
            stretches = [part for each in stretches for part in _without(each, came_from)]
        stretches += added
        length = sum(each.microseconds for each in added)
        now = began + length
        ended, reason = _ending(own, [event for event in others if event.attempt == number])
        reached = max((each.until for each in added if each.until), default=None)
        attempts.append(
            Attempt(
                number,
                began,
                length,
                own[0].host,
                came_from,
                reached,
                ended or ("" if number == last_attempt else KILLED),
                reason,
            )
        )
    return Ledger(
        workdir,
        {name: sum(each.microseconds for each in stretches if each.account is name) for name in Account},
        attempts,
        _steps(stretches, Account.STEP),
        _steps(stretches, Account.WASTED),
    )


def _stretches(events: Sequence[Event], began: int) -> Iterator[Stretch]:
    """The time of an attempt, cut at its events."""
    outside, inside = Account.START, Account.START  # what time goes to: between what has an end, and now
    done, now = 0, began
    for event in (*(each for each in events[:-1] if each.name is not Happened.ALIVE), events[-1]):
        length = max(event.microseconds - now, 0)
        now += length
        if inside is not Account.STEP:
            yield Stretch(inside, length)
        else:
            until = None if event.step is None else max(event.step, done)
            yield Stretch(Account.STEP, length, done, until)
            done = done if until is None else until
        if event.name is Happened.COMPILE and event.phase == "end":
            outside, done = Account.STEP, (event.step or 1) - 1
        if event.name in _TAKES_TIME:
            inside = _TAKES_TIME[event.name] if event.phase == "begin" else outside


def _without(stretch: Stretch, step: int) -> Iterator[Stretch]:
    """A stretch, with the time of steps behind one as wasted."""
    if stretch.account is not Account.STEP or (stretch.until is not None and stretch.until <= step):
        yield stretch
        return
    if stretch.until is None or stretch.done >= step:
        yield replace(stretch, account=Account.WASTED)
        return
    # As if its steps took equally long.
    kept = stretch.microseconds * (step - stretch.done) // (stretch.until - stretch.done)
    yield replace(stretch, microseconds=kept, until=step)
    yield replace(stretch, account=Account.WASTED, microseconds=stretch.microseconds - kept, done=step)


def _went_on_from(events: Sequence[Event]) -> int | None:
    """The last step before the first one of an attempt, if it got so far."""
    for event in events:
        if event.step is not None and event.name is Happened.RESTORE and event.phase == "end":
            return event.step
        if event.step is not None and event.name is Happened.COMPILE:
            return event.step - 1
    return None


def _ending(own: Sequence[Event], others: Sequence[Event]) -> tuple[str, str]:
    """How an attempt ended, and why: by the first process if it is done, else by who ended first."""
    ends = [event for event in own if event.name in ENDS]
    if not any(event.name is Happened.DONE for event in ends):
        ends += [event for event in others if event.name in ENDS and event.name is not Happened.DONE]
    if not ends:
        return "", ""
    first = min(ends, key=lambda event: event.microseconds)
    said_by = f"process {first.process} on {first.host}: " if first.process else ""
    return first.name.value, f"{said_by}{first.reason}" if first.reason else said_by.removesuffix(": ")


def _steps(stretches: Sequence[Stretch], of: Account) -> int:
    return sum(each.until - each.done for each in stretches if each.account is of and each.until is not None)
