"""All numbers of an analysis as JSON, and those of each example as CSV."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from im_jax.analysis.losses import INSTRUCTION, OUTPUT, Losses
from im_jax.analysis.measures import Comparison, measures_of
from im_jax.analysis.suite import SETS, AnswersOf, AtStep, RunResult
from im_jax.evaluation.measures import class_metrics

FORMAT = 2


def as_record(
    results: Sequence[RunResult], comparisons: Sequence[Comparison], about: dict[str, Any]
) -> dict[str, Any]:
    """Everything that was measured, for JSON; what is no number is null."""
    record = {
        "format": FORMAT,
        **about,
        "runs": [_run(result) for result in results],
        "comparisons": [_comparison(each) for each in comparisons],
    }
    cleaned: dict[str, Any] = _clean(record)
    return cleaned


def examples_csv(results: Sequence[RunResult]) -> str:
    """Mean losses of every example at every step, one a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "run",
            "policy",
            "step",
            "set",
            "example",
            "source",
            "output_tokens",
            "output_nll",
            "instruction_nll",
        ]
    )
    for result in results:
        for at in result.steps:
            for name in SETS:
                examples = result.run.train if name == "train" else result.run.heldout
                losses = at.of(name)
                output, instruction = losses.means(OUTPUT), losses.means(INSTRUCTION)
                tokens = losses.of(OUTPUT)[1]
                for row, view in enumerate(examples.views):
                    means = ["" if np.isnan(x[row]) else f"{x[row]:.6f}" for x in (output, instruction)]
                    head = [result.run.name, result.policy, at.step, name, view.id, examples.sources[row]]
                    writer.writerow([*head, int(tokens[row]), *means])
    return text.getvalue()


def _run(result: RunResult) -> dict[str, Any]:
    run = result.run
    return {
        "name": run.name,
        "policy": result.policy,
        "reduction": run.config.loss.reduction,
        "notes": result.notes,
        "measures": {name: each.as_record() for name, each in measures_of(result).items()},
        "steps": [_at_step(result, at) for at in result.steps],
        "answers": {name: _answers(each) for name, each in result.answers.items()},
        "gradients": None if result.gradients is None else _gradients(result),
        "text": None if result.text is None else _text(result),
    }


def _at_step(result: RunResult, at: AtStep) -> dict[str, Any]:
    record: dict[str, Any] = {"step": at.step, "epoch": at.epoch}
    for name in SETS:
        losses = at.of(name)
        examples = result.run.train if name == "train" else result.run.heldout
        record[name] = _losses(losses)
        sources = sorted(set(examples.sources) - {""})
        if sources:
            where = np.asarray(examples.sources)
            record[name]["by_source"] = {source: _losses(losses.among(where == source)) for source in sources}
    return record


def _losses(losses: Losses) -> dict[str, Any]:
    each = losses.means(OUTPUT)
    each = each[~np.isnan(each)]
    quantiles = np.quantile(each, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist() if len(each) else []
    mean = float(each.mean()) if len(each) else math.nan
    return {
        "examples": len(each),
        "output_loss": mean,
        "output_loss_quantiles": dict(zip(("5", "25", "50", "75", "95"), quantiles, strict=False)),
        "by_class": class_metrics(losses.sums()),
    }


def _answers(found: AnswersOf) -> dict[str, Any]:
    sizes = [(len(each.tokens), len(each.reference_tokens)) for each in found.answers]
    lengths, references = np.asarray(sizes).T
    return {
        "answers": len(found.answers),
        "ended": float(np.mean([each.whole for each in found.answers])),
        "bleu": found.bleu.value,
        "signature": found.bleu.signature,
        "mean_tokens": float(lengths.mean()),
        "mean_reference_tokens": float(references.mean()),
        "distinct": {str(n): value for n, value in found.distinct.items()},
        "reference_distinct": {str(n): value for n, value in found.reference_distinct.items()},
        "self_bleu": found.self_bleu,
        "reference_self_bleu": found.reference_self_bleu,
        "samples": [
            {"id": each.id, "answer": each.text, "reference": each.reference} for each in found.answers[:10]
        ],
    }


def _gradients(result: RunResult) -> dict[str, Any]:
    assert result.gradients is not None
    found = result.gradients
    return {
        "losses": found.losses,
        "norms": found.norms,
        "cosine": found.cosine,
        "learning_rate": found.learning_rate,
        "steps": {n: {"predicted": s.predicted, "measured": s.measured} for n, s in found.steps.items()},
    }


def _text(result: RunResult) -> dict[str, Any]:
    assert result.text is not None
    tokens = int(result.text.tokens.sum())
    return {
        "paragraphs": len(result.text.tokens),
        "tokens": tokens,
        "nll": float(result.text.nll.sum() / tokens),
        "nll_before": float(result.text.start.sum() / tokens),
    }


def _comparison(each: Comparison) -> dict[str, Any]:
    return {
        "first": each.first,
        "second": each.second,
        "differences": {
            name: {**d._asdict(), "interval": list(d.interval), "p_holm": each.corrected[name]}
            for name, d in each.differences.items()
        },
        "left_out": each.left_out,
    }


def _clean(value: Any) -> Any:
    """The same with None where a number is none."""
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
