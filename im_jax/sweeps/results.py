"""results.jsonl: a line a run with what it gave, written so that a kill at any time leaves the file whole."""

import dataclasses
import enum
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Never

from im_jax.errors import ConfigError
from im_jax.files import write_whole
from im_jax.sweeps.definition import Labels

_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "labels": ((dict,), "an object"),
    "seed": ((int,), "a whole number"),
    "hash": ((str,), "a text"),
    "status": ((str,), "a text"),
    "seconds": ((int, float), "a number"),
    "error": ((str,), "a text"),
    "machine": ((dict,), "an object"),
    "summary": ((dict,), "an object"),
    "evaluations": ((dict,), "an object"),
}
"""What each field of a line is in JSON."""


class Status(enum.StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """What a run gave: a line of results.jsonl."""

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
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What came of each evaluation of its model, by name: see `im_jax.sweeps.evaluations`."""


class ResultsFile:
    """The results in a file, the latest of each configuration."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read what is there; `damaged` says which lines could not be read, and why.

        Raises:
            ConfigError: the file cannot be read.
        """
        self._path = path
        self._results: dict[str, Result] = {}
        self._unread: list[bytes] = []
        self.damaged: list[str] = []
        for at, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            try:
                result = _from_json(line)
            except (ValueError, RecursionError) as error:
                self._unread.append(line)
                self.damaged.append(f"{path}:{at} is damaged and left out: {reason_of(error)}")
            else:
                self._results[result.hash] = result

    def get(self, config_hash: str) -> Result | None:
        """What a configuration gave."""
        return self._results.get(config_hash)

    def __len__(self) -> int:
        return len(self._results)

    def put(self, result: Result) -> None:
        """Add a result, in place of an earlier one of the same configuration, and write all of them.

        Lines that could not be read are moved to a file beside, where a reader may still make something of
        them.
        """
        self._results[result.hash] = result
        self.save()

    def save(self) -> None:
        """Write what is known."""
        self._keep_unread()
        lines = [json.dumps(vars(result), allow_nan=False) for result in self._results.values()]
        write_whole(self._path, "".join(line + "\n" for line in lines))

    def call(self, earlier: str, now: str) -> None:
        """Let what is known under an earlier hash of a configuration be found under that of now."""
        if earlier in self._results and now not in self._results:
            self._results[now] = dataclasses.replace(self._results.pop(earlier), hash=now)

    def _keep_unread(self) -> None:
        if self._unread:
            beside = self._path.with_name(self._path.name + ".damaged")
            kept = beside.read_bytes() if beside.exists() else b""
            lines = b"".join(line + b"\n" for line in self._unread)
            write_whole(beside, (kept + lines).decode("utf-8", "backslashreplace"))
            self._unread = []


def _lines(path: pathlib.Path) -> Iterator[bytes]:
    """The lines of a file; none if there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; choose another --workdir") from error
    yield from content.splitlines()


def _from_json(line: bytes) -> Result:
    """A line as a result. Names that this release does not know are left out.

    Raises:
        ValueError, RecursionError: it is none.
    """
    fields = read_object(line)
    known = {name: fields[name] for name in _KINDS if name in fields}
    for name, value in known.items():
        kinds, wanted = _KINDS[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} is {type(value).__name__}, not {wanted}")
    missing = [item.name for item in dataclasses.fields(Result) if item.name not in known]
    if needed := [name for name in missing if name not in ("error", "machine", "summary", "evaluations")]:
        raise ValueError(f"it has no {', '.join(needed)}")
    if not all(isinstance(label, str) for label in known["labels"].values()):
        raise ValueError("labels are not all texts")
    if known["status"] not in tuple(Status):
        raise ValueError(f"status is {known['status']!r}, neither finished nor failed")
    return Result(**{**known, "status": Status(known["status"])})


def read_summary(path: pathlib.Path) -> dict[str, Any] | None:
    """The summary that a run wrote as its last deed; None if it did not come so far.

    Raises:
        ValueError, RecursionError: the file holds none, as when it was cut off.
    """
    try:
        summary = read_object(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(error.strerror) from error
    if type(summary.get("seconds")) not in (int, float):
        raise ValueError("it does not say how many seconds the run took")
    return summary


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object of which all numbers can be written again.

    Raises:
        ValueError, RecursionError: the text is none.
    """
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON from character {error.pos} on") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is {type(value).__name__}, not an object")
    return value


def reason_of(error: Exception) -> str:
    """What is wrong with JSON that could not be read."""
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(digits)


def flat_summary(summary: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots: `{"heldout": {"loss": 1.0}}` is `{"heldout.loss": 1.0}`."""
    flat: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            flat.update(flat_summary(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
