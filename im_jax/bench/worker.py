"""A process that holds one contestant: it is prepared, and timed on request (`im_jax.child_process`).

python -m im_jax.bench.worker

{"command": "prepare", "module": ..., "variant": ..., "packages": [...], "case": {...}, "warmup": 2}
{"command": "run"}
"""

import gc
import importlib
import importlib.metadata
import importlib.util
import sys
import time
import traceback
from typing import Any, Final

from im_jax import child_process
from im_jax.bench.case import case_from_json
from im_jax.bench.contestant import CannotRun, Contestant
from im_jax.bench.resident import PeakMemory

_DISTRIBUTIONS: Final = {
    "jax": "jax",
    "jaxlib": "jaxlib",
    "optax": "optax",
    "flax": "flax",
    "tokamax": "tokamax",
    "torch": "torch",
    "liger_kernel": "liger-kernel",
    "cut_cross_entropy": "cut-cross-entropy",
    "transformers": "transformers",
    "trl": "trl",
    "lm_eval": "lm-eval",
    "datasets": "datasets",
    "tokenizers": "tokenizers",
    "tunix": "google-tunix",
    "numpy": "numpy",
}
"""Packages whose versions are reported: module -> distribution."""


class Worker:
    """Answers requests; see the module's text."""

    def __init__(self) -> None:
        self._contestant: Contestant | None = None
        self._idle_since = 0.0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What to reply to a request; a failure of the contestant is an answer too."""
        try:
            reply = self._prepare(request) if request["command"] == "prepare" else self._run()
        except CannotRun as error:
            reply = {"status": "cannot run here", "reason": str(error)}
        except NotImplementedError as error:
            reply = {"status": "cannot run here", "reason": f"{type(error).__name__}: {error}"}
        except ModuleNotFoundError as error:
            reply = {"status": "not installed", "reason": str(error.name)}
        except Exception as error:  # a contestant's own failure is a result
            traceback.print_exc()
            reply = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        self._idle_since = time.process_time()
        return reply

    def _prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in request["packages"] if importlib.util.find_spec(name) is None]
        if missing:
            return {"status": "not installed", "reason": ", ".join(missing)}
        module = importlib.import_module(f"im_jax.bench.contestants.{request['module']}")
        contestant = module.make(case_from_json(request["case"]), request["variant"])
        memory = dict(contestant.memory)
        for number in range(request["warmup"]):
            with PeakMemory() as peak:
                contestant.call()
            if number:  # the first call also compiles and loads libraries
                memory |= peak.growth
        self._contestant = contestant
        return {
            "status": "ready",
            "device": contestant.device,
            "memory": memory,
            "values": contestant.values(),
            "versions": _versions(),
        }

    def _run(self) -> dict[str, Any]:
        if self._contestant is None:
            return {"status": "failed", "reason": "asked to run before it was prepared"}
        idle = time.process_time() - self._idle_since
        gc.collect()
        began = time.perf_counter()
        own = self._contestant.call()
        seconds = time.perf_counter() - began
        return {"status": "ready", "seconds": seconds if own is None else own, "idle_cpu_seconds": idle}


def _versions() -> dict[str, str]:
    """Versions of the packages that this process loaded."""
    loaded = {name: dist for name, dist in _DISTRIBUTIONS.items() if name in sys.modules}
    return {name: importlib.metadata.version(dist) for name, dist in loaded.items()}


if __name__ == "__main__":
    child_process.serve(Worker().answer)
