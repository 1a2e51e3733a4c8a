"""HumanEval as the paper asks it: 20 completions of each problem at two temperatures, and the better one.

Programs that a model has written are run, confined (`im_jax.evaluation.code`), so this is done only where
it is asked for by name.
"""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Sequence
from typing import Any, Final

from im_jax.errors import ConfigError
from im_jax.evaluation.code import human_eval
from im_jax.evaluation.code.execution import check_confinement, execute
from im_jax.evaluation.harness.lm import Asked, Generate
from im_jax.evaluation.harness.local.files import present
from im_jax.evaluation.harness.paper import HUMAN_EVAL
from im_jax.evaluation.harness.scoring import sample_of
from im_jax.evaluation.items import Item
from im_jax.evaluation.results import Kind, Part, Score
from im_jax.evaluation.statistics.estimates import estimate

FILE: Final = "human_eval/HumanEval.jsonl"
METRIC: Final = "pass@1,none"


def problems_of(local_data: pathlib.Path | None) -> dict[str, human_eval.Problem]:
    """The problems, before anything is computed.

    Raises:
        ConfigError: they are not there, or programs cannot be confined on this machine.
        DataError: the file cannot be read.
    """
    path = None if local_data is None else present(local_data, FILE)
    if path is None:
        raise ConfigError(f"--tasks={HUMAN_EVAL} needs {FILE}, or with .gz, in --local_data=DIR")
    check_confinement()
    return human_eval.read_problems(path, flag="local_data")


def evaluate(problems: Sequence[human_eval.Problem], lm: Any, generate: Generate) -> list[Item]:
    """The items, each with its share of passed completions at each temperature.

    Args:
        problems: to be solved.
        lm: encodes.
        generate: draws completions.

    Raises:
        UserError: programs cannot be run.
    """
    asked = [
        Asked(
            tokens=lm.tok_encode(problem.prompt),
            max_tokens=human_eval.MAX_TOKENS,
            stop=list(human_eval.STOPS),
            sampling={"temperature": temperature, "top_p": human_eval.TOP_P},
            number=number,
            continues=True,
        )
        for problem in problems
        for temperature in human_eval.TEMPERATURES
        for number in range(human_eval.SAMPLES)
    ]
    answers = list(generate(asked))
    size = len(human_eval.TEMPERATURES) * human_eval.SAMPLES
    programs = [human_eval.program(problems[at // size], answer) for at, answer in enumerate(answers)]
    passed = [outcome.passed for outcome in execute(programs)]
    return [
        Item(
            doc_id=number,
            prompt_hash=hashlib.sha256(problem.prompt.encode()).hexdigest(),
            cluster=f"{HUMAN_EVAL}/{problem.task_id}",
            metrics=_shares(passed[number * size : (number + 1) * size]),
            more={"responses": answers[number * size : (number + 1) * size]},
        )
        for number, problem in enumerate(problems)
    ]


def scores_of(items: Sequence[Item]) -> list[Score]:
    """pass@1 at the better temperature, then at each."""
    each = []
    for key in items[0].metrics:
        sample = sample_of(items, key)
        assert sample is not None
        found = estimate([sample])
        error = found.stderr if math.isfinite(found.stderr) else None
        part = (Part(HUMAN_EVAL, key, 1.0),)
        each.append(Score(HUMAN_EVAL, key, found.value, error, len(items), part, kind=Kind.PART))
    better = max(each, key=lambda score: score.value)
    return [dataclasses.replace(better, metric=METRIC, kind=Kind.TASK), *each]


def _shares(passed: Sequence[bool]) -> dict[str, float]:
    """Shares at each temperature, of a problem's outcomes in order."""
    count = human_eval.SAMPLES
    return {
        f"pass@1,temperature={temperature}": sum(passed[at * count : (at + 1) * count]) / count
        for at, temperature in enumerate(human_eval.TEMPERATURES)
    }
