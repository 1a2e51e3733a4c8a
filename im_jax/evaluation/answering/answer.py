"""A benchmark asked of a model, round by round, and its file written."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

from im_jax.evaluation.answering.asked import Asked, Generate
from im_jax.evaluation.answering.benchmarks import Benchmark
from im_jax.evaluation.answering.store import Store
from im_jax.evaluation.records import write_records


class Report(NamedTuple):
    """What was answered."""

    before: int
    """Found in the store."""
    now: int
    cut: int
    """Answers whose tokens ran out, of all."""
    empty: int
    """Answers of no text, of all."""
    failures: dict[str, str]
    """Why prompts could not be answered, by id; in the file their answers are empty."""


def answer(
    benchmark: Benchmark,
    generate: Generate,
    store: Store,
    output: pathlib.Path,
    model: str,
    *,
    writes: bool = True,
    advance: Callable[[int], None] = lambda _: None,
) -> Report:
    """Ask for what the store has not, and write the file.

    Args:
        benchmark: what to ask.
        generate: who answers; called once a round, on all processes.
        store: open.
        output: the file.
        model: name of the model, for the file.
        writes: whether this process writes the file.
        advance: told how many more answers there are.

    Raises:
        StorageError: the file cannot be written.
    """
    before = len(store.answers)
    advance(before)
    while asked := [each for each in benchmark.ready(store.answers) if not _is_answered(each, store)]:
        for answered in generate(asked):
            if store.add(answered):
                advance(1)
        if unanswered := [each.id for each in asked if not _is_answered(each, store)]:
            raise RuntimeError(f"{unanswered[0]} was asked, and not answered")
    if writes:
        write_records(output, benchmark.records(store.answers, model), as_lines=benchmark.as_lines)
    given = store.answers.values()
    return Report(
        before,
        len(given) - before,
        sum(not each.ended and not each.failure for each in given),
        sum(not each.text.strip() for each in given),
        {each.id: each.failure for each in given if each.failure},
    )


def _is_answered(asked: Asked, store: Store) -> bool:
    return all((asked.id, sample) in store.answers for sample in range(asked.sampling.samples))
