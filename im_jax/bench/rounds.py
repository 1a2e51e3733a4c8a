"""The measurement: all contestants of a case are prepared, then timed in turn, one call each a round."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Final

from im_jax.bench import process
from im_jax.bench.case import Case
from im_jax.bench.methods import REFERENCES, Method, find_method
from im_jax.bench.process import Process
from im_jax.bench.sizes import TRAIN_STEPS

_WARMUP: Final = {
    "cross_entropy": 2,
    "attention": 2,
    "train_step": 3,
    "lora": 3,
    "rewrites": 3,
    "prepare": 1,
    "likelihood": 1,
    "generate": 1,
}
"""Calls before the first that counts; a training step's are the first whose losses are compared."""


@dataclasses.dataclass
class Outcome:
    """What became of a contestant."""

    name: str
    status: str
    """`ready`, or why it is not: `not installed`, `cannot run here`, `failed`."""
    reason: str = ""
    device: str = ""
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    """Bytes: `temporary` and `output` by JAX's compiler, `resident` and `gpu` as they grew in a call."""
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: list[float] = dataclasses.field(default_factory=list)
    """Of each round."""
    idle_cpu_seconds: list[float] = dataclasses.field(default_factory=list)
    """CPU time between its calls, when others were timed: should be next to nothing."""


@dataclasses.dataclass
class Measurement:
    """A case with the outcome of every contestant."""

    case: Case
    outcomes: list[Outcome]
    reference: Outcome
    """Expected values of the case; of a training step, how much it computes."""
    order: list[list[str]]
    """Names in the order in which they were timed, by round."""
    load: tuple[float, float]
    """Load average of the machine before and after: other programs disturb the times."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to measure."""

    methods: Sequence[str]
    rounds: int
    pythons: dict[str, str]
    """Interpreter of a method, where it is not this one."""
    limit: float
    """Seconds that one answer of a worker may take."""


def measure(case: Case, plan: Plan, progress: Callable[[str], None]) -> Measurement:
    """Measure all methods of a plan on one case."""
    with contextlib.ExitStack() as stack:
        if case.benchmark in (*TRAIN_STEPS, "prepare", "likelihood", "generate"):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="im_jax_bench_"))
            case = dataclasses.replace(case, checkpoint=directory)
        progress("reference")
        with process.start(None, {}, plan.limit) as worker:
            reference = _prepare(worker, "reference", REFERENCES[case.benchmark], case, warmup=0)
        before = os.getloadavg()[0]
        outcomes, workers = [], {}
        for name in plan.methods:
            progress(f"preparing {name}")
            method, environment = find_method(case.benchmark, name)
            python = plan.pythons.get(name)
            worker = stack.enter_context(process.start(python, environment, plan.limit))
            outcome = _prepare(worker, name, method, case, warmup=_WARMUP[case.benchmark])
            outcomes.append(outcome)
            if outcome.status == "ready":
                workers[name] = worker
            else:
                worker.end()
        order = _run_rounds(workers, {outcome.name: outcome for outcome in outcomes}, plan.rounds, progress)
        return Measurement(case, outcomes, reference, order, (before, os.getloadavg()[0]))


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: each round begins with the next contestant."""
    first = number % len(names) if names else 0
    return [*names[first:], *names[:first]]


def _prepare(worker: Process, name: str, method: Method, case: Case, warmup: int) -> Outcome:
    answer = worker.ask(
        {
            "command": "prepare",
            "module": method.module,
            "variant": method.variant,
            "packages": method.packages,
            "case": dataclasses.asdict(case),
            "warmup": warmup,
        }
    )
    return Outcome(name, **answer)


def _run_rounds(
    workers: dict[str, Process],
    outcomes: dict[str, Outcome],
    rounds: int,
    progress: Callable[[str], None],
) -> list[list[str]]:
    orders = []
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        order = [name for name in rotated(list(workers), number) if outcomes[name].status == "ready"]
        for name in order:
            answer = workers[name].ask({"command": "run"})
            if answer["status"] != "ready":
                outcomes[name].status, outcomes[name].reason = answer["status"], answer["reason"]
                continue
            outcomes[name].seconds.append(answer["seconds"])
            outcomes[name].idle_cpu_seconds.append(answer["idle_cpu_seconds"])
        orders.append(order)
    return orders
