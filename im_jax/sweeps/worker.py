"""Inside the worker: requests and their answers (`im_jax.child_process`).

    {"config": {"loss.policy": "im", ...}, "workdir": "DIR", "log": "DIR/log.txt", "evaluations": {...}}
    {"status": "finished", "summary": {...}, "evaluations": {...}, "machine": {...}, "fit": true}
    {"status": "failed", "error": "...", "machine": {...}, "fit": false}

A run that has finished and lacks evaluations is not trained again. Whatever a run prints, libraries in C
included, goes to its log.
"""

import contextlib
import gc
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Never

import jax

from im_jax import child_process, hardware
from im_jax.config import Config, with_overrides
from im_jax.console import Console
from im_jax.errors import Interrupted, UserError
from im_jax.sweeps.evaluations import from_request
from im_jax.sweeps.results import read_summary

RunConfig = Callable[[Config, pathlib.Path, Console], dict[str, Any]]
"""Runs a configuration in a directory, and returns its summary."""


def serve(run: RunConfig) -> Never:
    """Answer requests as long as there are any; see `im_jax.child_process`."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        write_to(pathlib.Path(request["log"]))
        return answer_to(run, request)

    child_process.serve(answer)


def write_to(log: pathlib.Path) -> None:
    """Send standard output and standard error to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def answer_to(run: RunConfig, request: Mapping[str, Any]) -> dict[str, Any]:
    """What came out of a run, and whether this process is fit for the next.

    After an error that nobody foresaw it is not: memory may be held, a device may be broken.

    Raises:
        Interrupted: it was asked to stop, and has saved.
    """
    console = Console(file=sys.stderr, width=100)
    fit = True
    directory, asked = pathlib.Path(request["workdir"]), from_request(request.get("evaluations", {}))
    try:
        config = with_overrides(Config(), request["config"])
        if asked:
            # Only where it is needed: what evaluates takes a while to import.
            from im_jax.sweeps import evaluating

            evaluating.check(asked)
        summary = _summary_of(directory) if asked else None
        answer = {"status": "finished", "summary": summary or run(config, directory, console)}
        if asked:
            from im_jax.sweeps import evaluating

            _free()
            made = evaluating.evaluate(asked, directory, console)
            answer["evaluations"], fit = made.found, made.fit
    except Interrupted:
        raise
    except UserError as error:
        console.print(f"error: {error}")
        answer = {"status": "failed", "error": " ".join(str(error).split())}
    except Exception as error:
        traceback.print_exc()
        reason = (str(error).strip().splitlines() or [""])[0]
        answer = {"status": "failed", "error": f"{type(error).__name__}: {reason}"}
        fit = False
    _free()
    return answer | {"machine": _machine(), "fit": fit}


def _free() -> None:
    """What is compiled next is in the cache on disk, and the memory of what was done is free."""
    jax.clear_caches()
    gc.collect()


def _summary_of(directory: pathlib.Path) -> dict[str, Any] | None:
    """Of a run that has finished; None if it has not, or if what it wrote is damaged."""
    with contextlib.suppress(ValueError, RecursionError):
        return read_summary(directory / "summary.json")
    return None


def _machine() -> dict[str, Any]:
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processor": hardware.processor(),
        "cores": hardware.cores(),
        "versions": hardware.versions(),
    }
