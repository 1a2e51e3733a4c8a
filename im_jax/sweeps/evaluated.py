"""What came of the evaluations of the runs of a sweep, kept in each run's folder.

    WORKDIR/runs/RUN/evaluations/NAME-HASH/figures.json

is written last, so that an evaluation is there whole or not at all. HASH is of what is asked: an evaluation
that is asked for in other words is another one.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Final

from im_jax.files import write_whole, writing
from im_jax.sweeps.evaluations import Evaluation, Evaluations, hash_of
from im_jax.sweeps.results import Result, Status, read_object, read_summary

FIGURES: Final = "figures.json"

Found = Mapping[str, Any]
"""What came of an evaluation: `hash`, `figures`, `seconds`, and `error` where it failed."""


def folder_of(directory: pathlib.Path, name: str, evaluation: Evaluation) -> pathlib.Path:
    """Where a run keeps an evaluation."""
    return directory / "evaluations" / f"{name}-{hash_of(evaluation)}"


def keep(folder: pathlib.Path, evaluation: Evaluation, figures: Mapping[str, float], seconds: float) -> Found:
    """Write that an evaluation is done. Raises `StorageError`."""
    found = {"hash": hash_of(evaluation), "figures": dict(figures), "seconds": round(seconds, 1)}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FIGURES, json.dumps(found, indent=2, allow_nan=False) + "\n")
    return found


def kept(directory: pathlib.Path, evaluations: Evaluations) -> dict[str, Found]:
    """The evaluations that a run has, by name; a file that is damaged is as none."""
    found: dict[str, Found] = {}
    for name, evaluation in evaluations.items():
        with contextlib.suppress(OSError, ValueError, RecursionError):
            record = read_object((folder_of(directory, name, evaluation) / FIGURES).read_bytes())
            if record.get("hash") == hash_of(evaluation) and isinstance(record.get("figures"), dict):
                found[name] = record
    return found


def failed(evaluation: Evaluation, reason: str) -> Found:
    """An evaluation that could not be made."""
    return {"hash": hash_of(evaluation), "figures": {}, "seconds": 0.0, "error": reason}


def answer_of(directory: pathlib.Path, evaluations: Evaluations, reason: str) -> dict[str, Any]:
    """What a run gave whose process ended without an answer, for this reason.

    One that died while it was evaluated has finished. Where a summary is damaged, the run has not.
    """
    summary = None
    with contextlib.suppress(ValueError, RecursionError):
        summary = read_summary(directory / "summary.json")
    if summary is None:
        return {"status": "failed", "error": reason}
    there = kept(directory, evaluations)
    found = {name: there.get(name) or failed(asked, reason) for name, asked in evaluations.items()}
    return {"status": "finished", "summary": summary, "evaluations": found}


def lacking(result: Result, evaluations: Evaluations) -> list[str]:
    """Names of the evaluations that a finished run has not, or that failed."""
    if result.status is not Status.FINISHED:
        return []
    return [
        name
        for name, asked in evaluations.items()
        if (found := _of(result, name, asked)) is None or found.get("error")
    ]


def errors(result: Result, evaluations: Evaluations) -> dict[str, str]:
    """Why evaluations of a run failed, by name."""
    found = {name: _of(result, name, asked) for name, asked in evaluations.items()}
    return {name: each["error"] for name, each in found.items() if each and each.get("error")}


def reasons(result: Result, evaluations: Evaluations) -> list[str]:
    """Why a run or its evaluations failed."""
    if result.status is Status.FAILED:
        return [result.error]
    return [f"evaluation {name}: {error}" for name, error in errors(result, evaluations).items()]


def with_figures(result: Result, evaluations: Evaluations) -> Result:
    """A result whose summary has the figures of its evaluations too, as `NAME.FIGURE`."""
    figures = {
        f"{name}.{figure}": value
        for name, asked in evaluations.items()
        for figure, value in (_of(result, name, asked) or {}).get("figures", {}).items()
    }
    return dataclasses.replace(result, summary={**result.summary, **figures}) if figures else result


def _of(result: Result, name: str, evaluation: Evaluation) -> Found | None:
    """What came of an evaluation, unless something else was asked for then."""
    found: Any = result.evaluations.get(name)
    if not isinstance(found, Mapping) or not isinstance(found.get("figures"), Mapping):
        return None
    return found if found.get("hash") == hash_of(evaluation) else None
