"""Inside the worker: a request a line on standard input, and an answer a line on standard output.

    {"config": {"loss.policy": "im", ...}, "workdir": "DIR", "log": "DIR/log.txt"}
    {"status": "finished", "summary": {...}, "machine": {...}, "fit": true}
    {"status": "failed", "error": "...", "machine": {...}, "fit": false}

Whatever a run prints, libraries in C included, goes to its log.
"""

import gc
import json
import os
import pathlib
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import jax

from im_jax import machine
from im_jax.config import Config, with_overrides
from im_jax.console import Console, print_json
from im_jax.errors import UserError

RunConfig = Callable[[Config, pathlib.Path, Console], dict[str, Any]]
"""Runs a configuration in a directory, and returns its summary."""


def serve(run: RunConfig) -> None:
    """Answer requests until standard input ends; then stop at once, in the middle of a run too.

    The process that asks holds the other end, so the worker never outlives it, however it ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the one that asks decides
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        _write_to(pathlib.Path(request["log"]))
        print_json(_answer(run, request), answers)


def _listen(requests: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _write_to(log: pathlib.Path) -> None:
    """Send standard output and standard error to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _answer(run: RunConfig, request: dict[str, Any]) -> dict[str, Any]:
    """What came out of a run, and whether this process is fit for the next.

    After an error that nobody foresaw it is not: memory may be held, a device may be broken.
    """
    console = Console(file=sys.stderr, width=100)
    fit = True
    try:
        config = with_overrides(Config(), request["config"])
        answer = {"status": "finished", "summary": run(config, pathlib.Path(request["workdir"]), console)}
    except UserError as error:
        console.print(f"error: {error}")
        answer = {"status": "failed", "error": " ".join(str(error).split())}
    except Exception as error:
        traceback.print_exc()
        reason = (str(error).strip().splitlines() or [""])[0]
        answer = {"status": "failed", "error": f"{type(error).__name__}: {reason}"}
        fit = False
    # What the next run compiles is in the cache on disk, and the memory of this one is free.
    jax.clear_caches()
    gc.collect()
    return answer | {"machine": _machine(), "fit": fit}


def _machine() -> dict[str, Any]:
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processor": machine.processor(),
        "cores": machine.cores(),
        "versions": machine.versions(),
    }
