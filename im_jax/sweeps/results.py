"""results.jsonl: one row a run, written so that a kill at any time leaves the file whole."""

import dataclasses
import enum
import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from im_jax.files import write_whole
from im_jax.sweeps.definition import Labels


class Status(enum.StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """A row of results.jsonl."""

    labels: Labels
    seed: int
    hash: str
    status: Status
    seconds: float
    """Time of the last attempt, start of its process included."""
    error: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """What it ran on: device, number of devices, processor, versions."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """The run's summary.json with names joined by dots."""


class ResultsFile:
    """The rows in a file, the latest of each configuration."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read what is there; `damaged` says what could not be read."""
        self._path = path
        self._results: dict[str, Result] = {}
        self.damaged: list[str] = []
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        for at, line in enumerate(lines, start=1):
            try:
                result = _from_json(line)
            except (ValueError, TypeError, KeyError):
                self.damaged.append(f"{path}:{at} is damaged and left out")
            else:
                self._results[result.hash] = result

    def get(self, config_hash: str) -> Result | None:
        """The row of a configuration."""
        return self._results.get(config_hash)

    def __len__(self) -> int:
        return len(self._results)

    def put(self, result: Result) -> None:
        """Add a row, in place of an earlier one of the same configuration."""
        self._results[result.hash] = result
        lines = [json.dumps(dataclasses.asdict(row), allow_nan=False) for row in self._results.values()]
        write_whole(self._path, "".join(line + "\n" for line in lines))


def _from_json(line: str) -> Result:
    fields = json.loads(line)
    return Result(**{**fields, "status": Status(fields["status"])})


def flat_summary(summary: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots: `{"heldout": {"loss": 1.0}}` is `{"heldout.loss": 1.0}`."""
    flat: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            flat.update(flat_summary(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
