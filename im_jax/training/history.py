"""metrics.jsonl read back: what a run that goes on, or begins anew, finds of what was measured before."""

import json
import pathlib
from typing import Any, Final, NamedTuple

DAMAGED: Final = "metrics.damaged"
"""Where lines that are no entries are kept, as they were."""


class History(NamedTuple):
    """The lines of a metrics.jsonl."""

    lines: list[tuple[dict[str, Any], bytes]]
    """Entries, with the line that each stands in."""
    damaged: list[tuple[int, bytes]]
    """Lines that hold no entry, with their numbers, counted from 1. The last line is not among them if it has
    no end: it was being written when its run was killed."""

    @property
    def last_step(self) -> int:
        """The last step that was measured; 0: none."""
        return max((entry["step"] for entry, _ in self.lines), default=0)


def read_history(path: pathlib.Path) -> History:
    """The entries in a file, whatever happened to it; none if there is no file."""
    history = History([], [])
    content = path.read_bytes() if path.exists() else b""
    whole = content.count(b"\n")
    for number, line in enumerate(content.split(b"\n"), start=1):
        entry = _entry(line)
        if entry is not None:
            history.lines.append((entry, line))
        elif line.strip() and number <= whole:
            history.damaged.append((number, line))
    return history


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry in a line, if it is one."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are kinds of the first
        return None
    fits = isinstance(value, dict) and type(value.get("step")) is int and isinstance(value.get("split"), str)
    return value if fits else None
