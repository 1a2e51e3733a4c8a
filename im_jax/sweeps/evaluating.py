"""In the worker: evaluations of a run that has finished, from its newest checkpoint, each made once."""

import json
import math
import pathlib
import time
import traceback
from collections.abc import Mapping
from typing import NamedTuple

from im_jax.activity import Activity, on_console
from im_jax.analysis.bleu import sacrebleu
from im_jax.analysis.forgetting import read_paragraphs
from im_jax.analysis.measures import measures_of
from im_jax.analysis.opened import open_runs
from im_jax.analysis.record import as_record, examples_csv
from im_jax.analysis.suite import Options, RunResult, analyse
from im_jax.console import Console
from im_jax.errors import ConfigError, Interrupted, UserError
from im_jax.evaluation.harness.asking import answers_of
from im_jax.evaluation.harness.during_training import entry_of
from im_jax.evaluation.harness.loading import Wanted, ready
from im_jax.evaluation.harness.running import LOG, run
from im_jax.files import write_whole, writing
from im_jax.opening import open_run
from im_jax.stores import readable
from im_jax.sweeps.evaluated import Found, failed, folder_of, keep, kept
from im_jax.sweeps.evaluations import Evaluation, Evaluations, Overfitting, Tasks, hash_of

_checked: set[str] = set()
"""Hashes of what was looked for in this process: that takes seconds."""


class Made(NamedTuple):
    """What came of all of them."""

    found: dict[str, Found]
    fit: bool
    """Whether this process is fit for another run; after an error that nobody foresaw it is not."""


def check(evaluations: Evaluations) -> None:
    """Look for all that evaluations need, before a run is trained for hours.

    Raises:
        ConfigError: names the evaluation.
    """
    for name, asked in evaluations.items():
        if hash_of(asked) in _checked:
            continue
        try:
            if isinstance(asked, Tasks):
                with ready(_wanted(asked)):
                    pass
            else:
                _options(asked)
        except UserError as error:
            raise ConfigError(f"evaluation {name}: {error.message}") from error
        _checked.add(hash_of(asked))


def evaluate(evaluations: Evaluations, directory: pathlib.Path, console: Console) -> Made:
    """Make the evaluations that a run has not yet. One that fails stops no other.

    Args:
        evaluations: by name.
        directory: of the run, with a checkpoint.
        console: is told what goes on.
    """
    found, fit = kept(directory, evaluations), True
    for name, asked in evaluations.items():
        if name in found:
            continue
        console.print(f"evaluation {name}")
        began = time.perf_counter()
        try:
            figures = _figures(asked, directory, folder_of(directory, name, asked), on_console(console))
            found[name] = keep(folder_of(directory, name, asked), asked, figures, time.perf_counter() - began)
        except Interrupted:
            raise
        except UserError as error:
            console.print(f"error: evaluation {name}: {error}")
            found[name] = failed(asked, " ".join(str(error).split()))
        except Exception as error:
            traceback.print_exc()
            reason = (str(error).strip().splitlines() or [""])[0]
            found[name], fit = failed(asked, f"{type(error).__name__}: {reason}"), False
    return Made({name: found[name] for name in evaluations}, fit)


def _figures(
    asked: Evaluation, directory: pathlib.Path, folder: pathlib.Path, doing: Activity
) -> Mapping[str, float]:
    if not (directory / "checkpoints").is_dir():
        raise ConfigError(
            "the checkpoints of this run are deleted (keep_checkpoints); "
            f"remove {directory} to train it again"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if isinstance(asked, Tasks):
        figures = _tasks(asked, directory, folder, doing)
    else:
        figures = _overfitting(asked, directory, folder, doing)
    return {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}


def _tasks(
    asked: Tasks, directory: pathlib.Path, folder: pathlib.Path, doing: Activity
) -> Mapping[str, float | None]:
    with ready(_wanted(asked), folder / LOG) as loaded:
        model = open_run(directory, chat=asked.apply_chat_template)
        found = run(model, loaded, answers_of(model), doing)
    assert found is not None, "a run of a sweep is one process"
    found.about["model"] = str(directory)
    found.write(folder)
    return entry_of(found.scores)


def _wanted(asked: Tasks) -> Wanted:
    return Wanted(
        tasks=tuple(asked.names),
        local_data=readable(asked.local_data) if asked.local_data else None,
        num_fewshot=asked.num_fewshot,
        limit=asked.limit,
        apply_chat_template=asked.apply_chat_template,
        add_bos=asked.add_bos,
        max_new_tokens=asked.max_new_tokens,
    )


def _overfitting(
    asked: Overfitting, directory: pathlib.Path, folder: pathlib.Path, doing: Activity
) -> Mapping[str, float | None]:
    options = _options(asked)
    (opened,) = open_runs([str(directory)], limit=asked.limit, seed=asked.seed, doing=doing)
    result = analyse(opened, options, doing)
    about = {"seed": asked.seed, "limit": asked.limit, "text": asked.text or None}
    record = as_record([result], [], about)
    write_whole(folder / "results.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / "examples.csv", examples_csv([result]))
    return _scalars(result)


def _scalars(result: RunResult) -> Mapping[str, float]:
    """The measures with their standard errors over examples, and what has none."""
    figures: dict[str, float] = {}
    for name, measure in measures_of(result).items():
        estimate = measure.estimate()
        figures[name], figures[f"{name}_stderr"] = estimate.value, estimate.stderr
    for name, answers in result.answers.items():
        figures[f"self_bleu/{name}"] = answers.self_bleu
        figures |= {f"distinct_{n}/{name}": share for n, share in answers.distinct.items()}
    if result.gradients is not None:
        figures["gradient_cosine"] = result.gradients.cosine["all"]
        for part in ("instruction", "output"):
            figures[f"gradient_norm/{part}"] = result.gradients.norms[part]["all"]
            figures[f"step/{part}"] = result.gradients.steps[part].measured
    return figures


def _options(asked: Overfitting) -> Options:
    """Of the suite; stops where a file or a library is missing."""
    if asked.answers:
        sacrebleu()
    return Options(
        seed=asked.seed,
        answers=asked.answers,
        max_new_tokens=asked.max_new_tokens,
        ngram=asked.ngram,
        prefix=asked.prefix,
        gradient_examples=asked.gradient_examples,
        rows_at_a_time=asked.rows_at_a_time,
        learning_rate=asked.learning_rate,
        paragraphs=tuple(read_paragraphs(asked.text, asked.paragraphs)) if asked.text else (),
    )
