"""How well a model that applies one rule runs whole programs, by their number of steps.

See `im_jax.studies.rewrites.markov.programs` for the programs, `iteration.py` for how they are run.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jaxtyping as jt
import numpy as np

from im_jax.config import RewritesConfig
from im_jax.config.rewrites_checks import programs_of
from im_jax.studies.rewrites.examples import Examples, RewriteTask
from im_jax.studies.rewrites.markov.iteration import (
    Apply,
    Failure,
    Query,
    Result,
    readable,
    remembering,
    run_all,
)
from im_jax.studies.rewrites.markov.machine import Halt
from im_jax.studies.rewrites.markov.programs import BUCKETS, Run, bucket_of, draw_runs, share_seen

Answer = Callable[[Examples], Sequence[str]]
"""What a model says to examples; their own answers are not read but for their length."""


def evaluate(config: RewritesConfig, task: RewriteTask, answer: Answer) -> dict[str, Any]:
    """Scores of a model on programs, as `programs/KIND/NAME`; see `score`. Empty if none are wanted.

    Args:
        config: checked fields of the rewrite task.
        task: its training task.
        answer: asks the model, always for a multiple of `config.eval_batch_size` examples, so that
            batches are of one shape.
    """
    apply = remembering(asking(task, answer, config.eval_batch_size))
    row: dict[str, Any] = {}
    for kind in programs_of(config.programs):
        runs = draw_runs(kind, config, task)
        results = run_all(
            [run.program for run in runs],
            [run.text for run in runs],
            apply,
            step_limit=config.step_limit,
            failure=readable(task.input_length, task.alphabet),
        )
        scores = score(runs, results, apply) | {"seen_rules": share_seen(runs, task)}
        row |= {f"programs/{kind}/{name}": value for name, value in scores.items()}
    return row


def asking(task: RewriteTask, answer: Answer, batch: int) -> Apply:
    """Queries as examples of a task, the last batch of them filled up by repeating the first."""

    def apply(queries: Sequence[Query]) -> Sequence[str]:
        filled = [*queries, *[queries[0]] * (-len(queries) % batch)]
        left, right, text = (_letters(column, task.alphabet) for column in zip(*filled, strict=True))
        nothing = np.zeros(len(filled), np.int64)
        lengths = np.full(len(filled), task.input_length, np.int64)
        examples = Examples(nothing, left, right, text, nothing, answer=text, answer_length=lengths)
        return answer(examples)[: len(queries)]

    return apply


def _letters(texts: Sequence[str], alphabet: str) -> jt.UInt8[np.ndarray, "E X"]:
    number = {letter: at for at, letter in enumerate(alphabet)}
    return np.array([[number[letter] for letter in text] for text in texts], np.uint8)


def needed(run: Run) -> list[Query]:
    """What a run asks if all answers are right, and that its end rests on.

    Of every text on the way: the rules up to the first that applies. What is said to those behind it has no
    effect.
    """
    trace = run.outcome.trace or ()
    texts = [run.text, *(step.text for step in trace)]
    last = [*(step.rule_index for step in trace), len(run.program.rules)]
    return [
        Query(rule.left, rule.right, text)
        for text, end in zip(texts, last, strict=True)
        for rule in run.program.rules[: end + 1]
    ]


def score(runs: Sequence[Run], results: Sequence[Result], apply: Apply) -> dict[str, Any]:
    """Shares of runs that came out right, and of what the others came to; of single answers on the true way.

    Args:
        runs: programs and what they truly do.
        results: what was made of them.
        apply: what made them; it is asked again on the true way.

    Returns:
        `accuracy`, the last text and that the run ended both right; `steps_N`, that of runs that truly take
        so many steps; `wrong_text`, ended with another text, `halt_limit`, `halt_length` and `halt_letters`,
        not ended: these four and `accuracy` add up to 1. `step_accuracy`: single answers, those that `needed`
        names; `step_has_op` and `step_no_op`, the same where the left side occurs and where not. `expected`
        and `expected_steps_N`: what `accuracy` and `steps_N` would be if every answer were right with the
        chance `step_accuracy`, whatever the others are. `copying`: `accuracy` of always giving the text back.
        `runs`: how many. Groups without a run are left out.
    """
    right = [
        result.halt is Halt.BLOCKED and result.text == run.outcome.text
        for run, result in zip(runs, results, strict=True)
    ]
    ended = [result.halt for result in results]
    asked = [needed(run) for run in runs]
    single = _single_answers([query for queries in asked for query in queries], apply)
    expected = [single["step_accuracy"] ** len(queries) for queries in asked]
    groups = [bucket_of(run.outcome.steps) for run in runs]
    row: dict[str, Any] = {"accuracy": _mean(right)}
    row |= _by_group("", groups, right)
    row["wrong_text"] = (ended.count(Halt.BLOCKED) - sum(right)) / len(runs)
    for halt in (Halt.LIMIT, *Failure):
        row[f"halt_{halt}"] = ended.count(halt) / len(runs)
    row |= single
    row["expected"] = _mean(expected)
    row |= _by_group("expected_", groups, expected)
    row["copying"] = _mean(run.outcome.steps == 0 for run in runs)
    row["runs"] = len(runs)
    return row


def _single_answers(queries: Sequence[Query], apply: Apply) -> dict[str, float]:
    right = [
        answer == query.text.replace(query.left, query.right, 1)
        for query, answer in zip(queries, apply(queries), strict=True)
    ]
    groups = ["has_op" if query.left in query.text else "no_op" for query in queries]
    row = {"step_accuracy": _mean(right)}
    for name in ("has_op", "no_op"):
        if name in groups:
            row[f"step_{name}"] = _mean(r for r, group in zip(right, groups, strict=True) if group == name)
    return row


def _by_group(prefix: str, groups: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Mean of each group that there is, from few steps to many."""
    return {
        f"{prefix}{name}": _mean(v for v, group in zip(values, groups, strict=True) if group == name)
        for name in BUCKETS
        if name in groups
    }


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
