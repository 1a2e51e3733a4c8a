"""Tiny runs of `train` that are disturbed, and what must be true of them in the end."""

import contextlib
import json
import multiprocessing
import multiprocessing.forkserver as forkserver
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore

from im_jax.events import Event, Happened, read_events
from im_jax.pods.ledger import Account, read_ledger
from tests.conftest import REPOSITORY
from tests.faults import door

STEPS = 10
FLAGS = {
    "config": str(REPOSITORY / "configs" / "cpu_debug.py"),
    "config.train.steps": STEPS,
    "config.train.batch_size": 4,
    "config.loss.neftune_alpha": 5,  # random numbers in every step
    "config.model.num_layers": 2,
    "config.model.embed_dim": 32,
    "config.model.mlp_dim": 64,
    "config.data.num_generated": 60,
    "config.data.max_length": 128,
    "config.eval.num_examples": 8,
    "config.eval.every": 4,
    "config.checkpoint.every": 3,
    "config.log.every": 1,
    "config.log.tensorboard": "false",
}
SECONDS = 120.0
"""Within which everything here must happen, on a machine that does much else."""
_CLOCK = ("tokens_per_second", "step_time", "model_flops_utilisation")
_OF_ATTEMPTS = ("seconds", "resumed_from", "memory")

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([door.__name__])


def words_of(workdir: Path, flags: Mapping[str, object] | None = None) -> list[str]:
    """The command line of a run, without the program's name, nor flags of None."""
    named = {**FLAGS, "workdir": workdir, **(flags or {})}
    return [f"--{name}={value}" for name, value in named.items() if value is not None]


def start_server() -> None:
    """Start the process that runs are forked from, with the environment of now."""
    forkserver.ensure_running()


class Run:
    """A run that goes on, or has ended."""

    def __init__(
        self,
        workdir: Path,
        variables: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        limit: int | None = None,
        log: Path | None = None,
        flags: Mapping[str, object] | None = None,
        bound: bool = False,
    ) -> None:
        """Start it.

        Args:
            workdir: of the run.
            variables, settings, limit, bound: see `tests.faults.door`.
            log: where its outputs go; beside the workdir if not given.
            flags: those that are not as in all runs: `{"config.seed": 1}`.
        """
        self.workdir, self._log = workdir, log or workdir.with_name(f"{workdir.name}.log")
        self._seen, self._said = len(self.events()), self._log.stat().st_size if self._log.exists() else 0
        arguments = (
            words_of(workdir, flags),
            str(self._log),
            dict(variables or {}),
            dict(settings or {}),
            limit,
            bound,
        )
        self._process = _processes.Process(target=door.train, args=arguments, daemon=True)
        self.began = time.monotonic()
        self._process.start()

    def events(self) -> list[Event]:
        """Of all attempts so far."""
        return read_events(self.workdir / "events.jsonl")

    def happened(self, name: Happened, phase: str = "", step: int | None = None, times: int = 1) -> bool:
        """Whether an event of this attempt is there, as often as that."""
        found = [
            event
            for event in self.events()[self._seen :]
            if (event.name, event.phase) == (name, phase) and step in (None, event.step)
        ]
        return len(found) >= times

    def wait_for(self, what: Callable[[], bool]) -> bool:
        """Wait until something is so; False: the run ended before."""
        while not what():
            if not self._process.is_alive():
                return False
            assert time.monotonic() < self.began + SECONDS, self.said
            time.sleep(0.002)
        return True

    def send(self, number: signal.Signals) -> None:
        """A signal, to the run alone."""
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def code(self, seconds: float = SECONDS) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"the run has not ended within {seconds} seconds:\n{self.said}")
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it has printed, on both outputs."""
        return self._log.read_bytes()[self._said :].decode() if self._log.exists() else ""

    @property
    def last_line(self) -> str:
        """The last line that it has printed."""
        return (self.said.splitlines() or [""])[-1]


class Outcome(NamedTuple):
    """What a run has given."""

    metrics: list[dict[str, Any]]
    """The rows of metrics.jsonl without numbers of the clock."""
    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]
    """Parameters and state of the optimiser after the last step."""


def outcome(workdir: Path) -> Outcome:
    """What is compared of a run that has ended well."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    last = workdir / "checkpoints" / str(STEPS)
    arrays = {f"{part}/{name}": x for part in ("params", "optimizer") for name, x in _arrays(last / part)}
    return Outcome(
        [{name: value for name, value in row.items() if name not in _CLOCK} for row in rows],
        {
            name: value
            for name, value in json.loads((workdir / "summary.json").read_text()).items()
            if name not in _OF_ATTEMPTS
        },
        arrays,
    )


def _arrays(directory: Path) -> Iterator[tuple[str, np.ndarray]]:
    """All arrays of a part of a checkpoint, read by TensorStore alone, on however many devices they were."""
    files = {"driver": "ocdbt", "base": f"file://{directory.resolve()}/"}
    for key in sorted(tensorstore.KvStore.open(files).result().list().result()):
        name, _, file = key.decode().rpartition("/")
        if file == "zarr.json":
            stored = {"driver": "zarr3", "kvstore": {**files, "path": f"{name}/"}}
            yield name, np.asarray(tensorstore.open(stored, read=True).result().read().result())


def assert_undisturbed(workdir: Path, whole: Outcome, *ended: str) -> None:
    """A run is as one that nothing happened to, bit for bit, and its events tell what did.

    Args:
        workdir: of the run, which has ended well.
        whole: of the run that nothing happened to.
        ended: how the attempts before the last one ended; none: in whatever way, and however many.
    """
    found = outcome(workdir)
    assert found.metrics == whole.metrics
    steps = [row["step"] for row in found.metrics if row["split"] == "train"]
    assert steps == list(range(1, STEPS + 1)), "no gap and nothing twice"
    assert found.summary == whole.summary
    assert found.arrays.keys() == whole.arrays.keys() and len(found.arrays) > 20
    for name, array in found.arrays.items():
        assert array.dtype == whole.arrays[name].dtype
        np.testing.assert_array_equal(array, whole.arrays[name], err_msg=name)
    assert_ledger_adds_up(workdir, *ended)


def assert_ledger_adds_up(workdir: Path, *ended: str) -> None:
    """Every microsecond from the first event to the last is in one account, every step kept once."""
    events, ledger = read_events(workdir / "events.jsonl"), read_ledger(workdir)
    assert ledger.wall == events[-1].microseconds - events[0].microseconds
    attempts = sum(attempt.microseconds for attempt in ledger.attempts)
    assert attempts + ledger.microseconds[Account.DOWN] == ledger.wall
    assert min(ledger.microseconds.values()) >= 0
    *before, last = ledger.attempts
    assert last.ended == "done" and ledger.steps_kept == STEPS
    if ended:
        assert [attempt.ended for attempt in before] == list(ended)


@contextlib.contextmanager
def ended(run: Run) -> Iterator[Run]:
    """No run outlives its test."""
    try:
        yield run
    finally:
        run.send(signal.SIGKILL)


@contextlib.contextmanager
def pair(
    workdir: Path,
    numbers: tuple[int, ...] = (0, 1),
    flags: Mapping[str, object] | None = None,
    variables: Mapping[str, str] | None = None,
    logs: Path | None = None,
    bound: bool = False,
) -> Iterator[list[Run]]:
    """The processes of a run of two, or some of them.

    Args:
        workdir, flags, variables, bound: see `Run`.
        numbers: of the processes that are started.
        logs: folder of their logs; that of the workdir if not given.
    """
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (one, other)]
    cluster = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{ports[0]}",
        "IM_JAX_ROLL_CALL_PORT": str(ports[1]),
        "JAX_NUM_PROCESSES": "2",
    }
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                ended(
                    Run(
                        workdir,
                        {**(variables or {}), **cluster, "JAX_PROCESS_ID": str(number)},
                        log=(logs or workdir.parent) / f"{number}.log",
                        flags=flags,
                        bound=bound,
                    )
                )
            )
            for number in numbers
        ]
