"""A benchmark's answers put before a judge, and its files written."""

import json
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from im_jax.activity import Activity, silent
from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged import alpaca_eval as alpaca
from im_jax.evaluation.judged import mt_bench_judge
from im_jax.evaluation.judged.alpaca_eval import Judge
from im_jax.evaluation.judged.asking import Answers, Manner, Query, ask_all
from im_jax.evaluation.judged.budget import Budget, Prices, check_limit, most_tokens
from im_jax.evaluation.judged.endpoint import Endpoint
from im_jax.evaluation.judged.ledger import Ledger, Spent, key
from im_jax.evaluation.judged.mt_bench import read_answers, read_questions
from im_jax.evaluation.records import check_place, read_records, write_records
from im_jax.files import write_whole
from im_jax.text import counted

__all__ = ["Judge", "Purse", "Report", "Work", "alpaca_eval", "judge", "mt_bench"]

_TOLD: Final = 3
"""Failures that are shown of each kind."""


@dataclass(frozen=True)
class Work:
    """What is to be judged.

    Attributes:
        queries: for the judge.
        records: of the output file, from what came of them; adds to the failures what says nothing.
        as_lines: whether the file is JSON Lines, and no array.
        notes: what a user should know beforehand.
    """

    queries: Sequence[Query]
    records: Callable[[Answers], list[dict[str, Any]]]
    as_lines: bool
    notes: Sequence[str] = ()


class Purse(NamedTuple):
    """What judging may cost."""

    prices: Prices | None = None
    limit: float | None = None


class Report(NamedTuple):
    """What became of the queries."""

    asked: int
    cached: int
    failed: int


def alpaca_eval(
    answers: str, reference: str, judge: Judge, *, both_orders: bool = False, model_name: str = ""
) -> Work:
    """Outputs of a model beside those of a reference.

    Raises:
        UserError: the files do not fit.
    """
    outputs = alpaca.read_outputs(answers, "answers")
    if model_name:
        outputs = {text: each._replace(generator=model_name) for text, each in outputs.items()}
    references = alpaca.read_outputs(reference, "reference")
    compared = alpaca.pairs(outputs, references)
    queries = alpaca.queries(compared, judge, both_orders=both_orders)
    notes = []
    if missing := len(references) - len(compared):
        notes.append(
            f"{missing:,} of {counted(len(references), 'instruction')} have no output, and are left out"
        )
    per = 2 if both_orders else 1
    if equal := len(compared) - len(queries) // per:
        notes.append(f"{counted(equal, 'output')} equal to the reference's: a draw that is not asked about")
    return Work(
        queries,
        lambda found: alpaca.annotations(compared, judge, found, both_orders=both_orders),
        False,
        notes,
    )


def mt_bench(
    answers: str, data: str, judge: str, model_name: str = "", changed: Mapping[str, Any] | None = None
) -> Work:
    """Answers of a model to both turns.

    Raises:
        UserError: the files do not fit.
    """
    if not pathlib.Path(data).is_dir():
        raise ConfigError(f"--data={data}: there is no such folder; give FastChat's data/mt_bench")
    questions, given = read_questions(data), read_answers(answers)
    graded = mt_bench_judge.gradings(
        questions,
        given,
        mt_bench_judge.read_references(data),
        mt_bench_judge.read_prompts(data),
        judge,
        changed or {},
    )
    name = model_name or _model_name(answers)
    notes = []
    if missing := len(questions) - len(given):
        notes.append(f"{missing:,} of {counted(len(questions), 'question')} have no answer, and are left out")
    return Work(
        mt_bench_judge.queries(graded),
        lambda found: mt_bench_judge.judgements(graded, found, name, judge),
        True,
        notes,
    )


def judge(
    work: Work,
    endpoint: Endpoint,
    output: pathlib.Path,
    cache: pathlib.Path,
    manner: Manner,
    purse: Purse,
    *,
    activity: Activity = silent,
    say: Callable[[str], object] = lambda _: None,
    dry_run: bool = False,
) -> Report:
    """Ask for what the cache has not, and write the output and what failed.

    Args:
        work: what to judge.
        endpoint: where the judge is.
        output: the file to write; beside it `OUTPUT.failures.jsonl`, if anything failed.
        cache: the ledger.
        manner: how to ask.
        purse: what it may cost.
        activity: shows progress.
        say: told what a user should know, line by line.
        dry_run: only say what would be asked.

    Raises:
        UserError: nothing could be asked, or files cannot be written.
    """
    check_place(output)
    check_limit(purse.prices, purse.limit)
    for note in work.notes:
        say(f"note: {note}")
    with Ledger(cache) as ledger:
        budget = Budget(ledger, purse.prices, purse.limit)
        say(_plan(work, endpoint, ledger, purse, budget))
        if dry_run:
            return Report(len(work.queries), 0, 0)
        with activity("judging", len(work.queries)) as advance:
            answers = ask_all(work.queries, endpoint, ledger, budget, manner, advance)
        records = work.records(answers)
        for line in _told(answers, ledger, budget, purse):
            say(line)
    write_records(output, records, as_lines=work.as_lines)
    failures = output.with_name(output.name + ".failures.jsonl")
    if answers.failures:
        lines = [json.dumps({"name": name, "failure": why}) for name, why in answers.failures.items()]
        write_whole(failures, "\n".join(lines) + "\n")
        say(f"the same command asks again for what failed; all of it is named in {failures}")
    else:
        failures.unlink(missing_ok=True)
    say(f"written to {output}")
    return Report(len(work.queries), answers.cached, len(answers.failures))


def _plan(work: Work, endpoint: Endpoint, ledger: Ledger, purse: Purse, budget: Budget) -> str:
    """What is asked, and at most costs."""
    left = {key(endpoint.url, each.body): each.body for each in work.queries}
    left = {asked: body for asked, body in left.items() if asked not in ledger.answers}
    cost = ""
    if purse.prices:
        most = sum((most_tokens(body) for body in left.values()), Spent())
        cost = f", for {purse.prices.cost(most):.2f} at the very most, after {budget.spent:.2f} spent before"
    return f"{counted(len(work.queries), 'request')}, of which {len(left):,} are to be sent{cost}"


def _told(answers: Answers, ledger: Ledger, budget: Budget, purse: Purse) -> list[str]:
    """What came of it, for people."""
    lines = [
        f"{len(answers.completions):,} answered, {answers.cached:,} of them before; "
        f"{len(answers.failures):,} without a verdict"
    ]
    kinds: dict[str, list[str]] = {}
    for name, why in answers.failures.items():
        kinds.setdefault(why.partition(":")[0], []).append(name)
    for kind, names in sorted(kinds.items()):
        shown = ", ".join(names[:_TOLD]) + (", ..." if len(names) > _TOLD else "")
        first = answers.failures[names[0]]
        lines.append(f"  {len(names):,} {first if len(names) == 1 else kind}: {shown}")
    if answers.tries_failed:
        tries = Counter(answers.tries_failed).most_common()
        lines.append("tries without an answer: " + ", ".join(f"{count:,} {kind}" for kind, count in tries))
    tokens, open_tokens = ledger.billed, ledger.unanswered
    spent = f", cost {budget.spent:.4f}" if purse.prices else ""
    lines.append(f"tokens so far: {tokens.prompt:,} read, {tokens.completion:,} written by the judge{spent}")
    if any(open_tokens):
        lines.append(
            f"of requests without an answer at most {open_tokens.prompt:,} and {open_tokens.completion:,} "
            "more may have been billed, and count as if they were"
        )
    if answers.without_usage:
        lines.append(
            f"{counted(answers.without_usage, 'answer')} did not say what it cost: counted at the most"
        )
    return lines


def _model_name(answers: str | os.PathLike[str]) -> str:
    """That in FastChat's answers."""
    names = {str(item.value.get("model_id") or "") for item in read_records(answers, {}, "answers")}
    if len(names) != 1 or "" in names:
        raise DataError(f"--answers={answers}: does not name one model; set --model_name")
    return names.pop()
