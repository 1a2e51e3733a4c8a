"""What happens to a run, in its order: WORKDIR/events.jsonl, which is only ever added to.

    {"time": 1795811412.028513, "attempt": 2, "process": 0, "host": "node3", "event": "save", "step": 500,
     "phase": "begin"}

Each start of a run is an attempt. metrics.jsonl has every step once, as if nothing had happened; here stays
what was lost: `python -m im_jax.plan ledger` reads it. The first process writes for the run, and each other
one its own WORKDIR/events/PROCESS.jsonl. Each event is one line; a kill loses that under way, no other.
"""

import enum
import json
import pathlib
from typing import Final, NamedTuple

from im_jax.appended import whole_lines
from im_jax.errors import DataError
from im_jax.text import in_one_line


class Happened(enum.StrEnum):
    """The name of an event."""

    START = "start"
    JOINED = "joined"
    """The processes of a run know each other."""
    DATA = "data"
    RESTORE = "restore"
    COMPILE = "compile"
    FIRST_STEP = "first_step"
    """The first step of an attempt is done."""
    STEP = "step"
    """A step that is logged is done."""
    EVALUATION = "evaluation"
    SAVE = "save"
    ALIVE = "alive"
    """Nothing else has happened for a while, and the process is there."""
    PREEMPTED = "preempted"
    """Ended from outside, as by SIGTERM."""
    STOPPED = "stopped"
    """Ended by its user: Ctrl-C."""
    FAILED = "failed"
    DONE = "done"


_FIRST: Final = "events.jsonl"
ENDS: Final = frozenset({Happened.PREEMPTED, Happened.STOPPED, Happened.FAILED, Happened.DONE})
"""How an attempt ends that is not killed."""


class Event(NamedTuple):
    """A line, as it is read."""

    microseconds: int
    """Since 1970, UTC."""
    attempt: int
    """Counted from 1."""
    process: int
    host: str
    name: Happened
    phase: str
    """`begin` or `end` of what takes long; else empty."""
    step: int | None
    reason: str
    """Of an end."""


def file_of(workdir: pathlib.Path, process: int) -> pathlib.Path:
    """Where a process writes its events."""
    return workdir / "events" / f"{process}.jsonl" if process else workdir / _FIRST


def read_events(path: pathlib.Path) -> list[Event]:
    """The events in a file, in its order, without a last line that a kill has torn; none if there is no file.

    Raises:
        DataError: a line is no event.
    """
    lines, _ = whole_lines(path)
    return [_event(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _event(line: bytes, where: str) -> Event:
    try:
        found = json.loads(line.decode())
        event = Event(
            round(float(found["time"]) * 1_000_000),
            int(found["attempt"]),
            int(found["process"]),
            str(found["host"]),
            Happened(found["event"]),
            str(found.get("phase", "")),
            None if found.get("step") is None else int(found["step"]),
            str(found.get("reason", "")),
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{where} is no event ({type(error).__name__}: {in_one_line(error)[:80]}); take the line out to "
            "count without it"
        ) from error
    if event.attempt < 1:
        raise DataError(
            f"{where}: attempt {event.attempt} must be 1 or more; take the line out to count without it"
        )
    return event


def attempt_in(line: bytes) -> int:
    """The number of the attempt in a line; 0 if there is none: a run goes on whatever stands there."""
    try:
        return int(json.loads(line)["attempt"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return 0
