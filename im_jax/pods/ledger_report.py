"""A ledger for a reader, and for programs."""

import datetime
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from im_jax.events import Happened
from im_jax.pods.ledger import KILLED, Account, Attempt, Ledger
from im_jax.text import counted, in_one_line

_MILLION = 1_000_000


def as_record(ledger: Ledger) -> dict[str, Any]:
    """For JSON. Seconds have six digits, and those of the accounts add up to `wall_seconds` in decimals."""
    return {
        "workdir": ledger.workdir,
        "since": _utc(ledger.attempts[0].began),
        "wall_seconds": ledger.wall / _MILLION,
        "goodput_percent": round(ledger.goodput, 4),
        "seconds": {name.value: spent / _MILLION for name, spent in ledger.microseconds.items()},
        "steps_kept": ledger.steps_kept,
        "steps_wasted": ledger.steps_wasted,
        "preemptions": ledger.ended(Happened.PREEMPTED),
        "failures": ledger.ended(Happened.FAILED),
        "kills": ledger.ended(KILLED),
        "stops": ledger.ended(Happened.STOPPED),
        "attempts": [
            {
                "attempt": attempt.number,
                "started": _utc(attempt.began),
                "seconds": attempt.microseconds / _MILLION,
                "host": attempt.host,
                "from_step": attempt.went_on_from,
                "to_step": attempt.reached,
                "ended": attempt.ended or None,
                "reason": attempt.reason or None,
            }
            for attempt in ledger.attempts
        ],
    }


def shown(ledger: Ledger) -> Iterator[Table | str]:
    """What a reader is shown, piece by piece."""
    yield (
        f"{ledger.workdir}: goodput {ledger.goodput:.2f} %, {counted(ledger.steps_kept, 'step')} kept, "
        f"{ledger.steps_wasted:,} wasted, since {_readable(ledger.attempts[0].began)} UTC"
    )
    yield _accounts(ledger)
    yield _attempts(ledger)
    ends = {
        "preemption": ledger.ended(Happened.PREEMPTED),
        "failure": ledger.ended(Happened.FAILED),
        "kill": ledger.ended(KILLED),
        "stop by its user": ledger.ended(Happened.STOPPED),
    }
    yield ", ".join(_counted(count, name) for name, count in ends.items())


def _accounts(ledger: Ledger) -> Table:
    table = Table(title="Time", title_justify="left")
    table.add_column("account")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    wall = max(ledger.wall, 1)
    for name in Account:
        spent = ledger.microseconds[name]
        table.add_row(name.value, f"{spent / _MILLION:,.3f}", f"{spent / wall:.1%}")
    table.add_section()
    table.add_row("all", f"{ledger.wall / _MILLION:,.3f}", "100.0%")
    return table


def _attempts(ledger: Ledger) -> Table:
    table = Table(title="Attempts", title_justify="left")
    for name in ("", "started (UTC)", "host", "from step", "to step", "seconds", "ended"):
        right = name in ("", "from step", "to step", "seconds")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for attempt in ledger.attempts:
        steps = ["" if step is None else f"{step:,}" for step in (attempt.went_on_from, attempt.reached)]
        table.add_row(
            str(attempt.number),
            _readable(attempt.began),
            attempt.host,
            *steps,
            f"{attempt.microseconds / _MILLION:,.1f}",
            _end(attempt),
        )
    return table


def _end(attempt: Attempt) -> str:
    ended = attempt.ended or "not yet, or killed"
    return in_one_line(f"{ended}: {attempt.reason}" if attempt.reason else ended)


def _counted(count: int, name: str) -> str:
    return counted(count, name) if " " not in name else f"{count:,} {name.replace('stop', 'stops')}"


def _readable(microseconds: int) -> str:
    return _utc(microseconds).replace("T", " ").partition(".")[0]


def _utc(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, _MILLION)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
