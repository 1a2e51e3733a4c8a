"""From what the harness found to items and scores, with standard errors of our own.

The harness's values stand. Each metric is told as a mean over items, or as a ratio of sums over them,
wherever that gives its value; then it has a standard error, and can be compared item by item. BLEU and the
like cannot.
"""

import dataclasses
import importlib
import math
import numbers
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from im_jax.evaluation.harness import answer_bits
from im_jax.evaluation.harness.clusters import clusters
from im_jax.evaluation.items import Item
from im_jax.evaluation.results import Part, Score
from im_jax.evaluation.statistics.estimates import Sample, estimate

_CLOSE: Final = 1e-9
_ANSWER_BITS: Final = f"{answer_bits.METRIC},none"
_NO_METRICS: Final = frozenset({"name", "alias", "sample_len", "sample_count"})


def items_of(task: str, samples: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The items of a task from the harness's samples, of which there is one for each item and filter."""
    by_doc: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        by_doc[int(sample["doc_id"])].append(sample)
    doc_ids = sorted(by_doc)
    names = clusters(task, [by_doc[doc_id][0]["doc"] for doc_id in doc_ids], doc_ids)
    return [_item(doc_id, name, by_doc[doc_id]) for doc_id, name in zip(doc_ids, names, strict=True)]


def _item(doc_id: int, cluster: str, samples: Sequence[Mapping[str, Any]]) -> Item:
    metrics: dict[str, float] = {}
    ratios: dict[str, tuple[float, float]] = {}
    for sample in samples:
        for metric in sample["metrics"]:
            key, value = f"{metric},{sample['filter']}", sample[metric]
            if isinstance(value, numbers.Real):
                metrics[key] = float(value)
            elif isinstance(value, list) and value and all(isinstance(each, bool) for each in value):
                ratios[key] = float(sum(value)), float(len(value))  # instructions of a prompt, one by one
            elif metric == "ter" and (ratio := _ter(value)) is not None:
                ratios[key] = ratio
    first = samples[0]
    more = {
        "doc_hash": first["doc_hash"],
        "target": str(first["target"]),
        "responses": first["resps"],
        "filtered": {sample["filter"]: sample["filtered_resps"] for sample in samples},
    }
    return Item(doc_id, first["prompt_hash"], cluster, metrics, ratios, more)


def with_answer_bits(items: Sequence[Item], bits: Mapping[int, float]) -> list[Item]:
    """The items with a metric more, if there is one: see `answer_bits`."""
    return [
        dataclasses.replace(item, metrics={**item.metrics, _ANSWER_BITS: bits[item.doc_id]}) if bits else item
        for item in items
    ]


def _ter(value: Any) -> tuple[float, float] | None:
    """Edits in percent, and words, of (reference, hypothesis): TER of a corpus is the ratio of their sums."""
    reference, hypothesis = value
    reference = reference if isinstance(reference, str) else reference[0]
    hypothesis = hypothesis if isinstance(hypothesis, str) else hypothesis[0]
    words = len(reference.split())
    if not words:
        return None
    score = importlib.import_module("sacrebleu").sentence_ter(hypothesis, [reference]).score
    return score * words, float(words)


def scores_of(
    task: str, results: Mapping[str, Any], higher: Mapping[str, bool], items: Sequence[Item]
) -> list[Score]:
    """A score for each metric of a task.

    Args:
        task: its name.
        results: the harness's, by `METRIC,FILTER`.
        higher: whether higher is better, by metric.
        items: of the task.
    """
    found = []
    for key, value in results.items():
        metric = key.partition(",")[0]
        if key in _NO_METRICS or metric.endswith("_stderr") or not isinstance(value, numbers.Real):
            continue
        error = _stderr(key, float(value), items)
        parts = (Part(task, key, 1.0),)
        found.append(Score(task, key, float(value), error, len(items), parts, higher.get(metric, True)))
    sample = sample_of(items, _ANSWER_BITS)
    if sample is not None:
        mean = estimate([sample])
        error = mean.stderr if math.isfinite(mean.stderr) else None
        parts = (Part(task, _ANSWER_BITS, 1.0),)
        found.append(Score(task, _ANSWER_BITS, mean.value, error, len(items), parts, higher_is_better=False))
    return found


def _stderr(key: str, value: float, items: Sequence[Item]) -> float | None:
    sample = sample_of(items, key)
    if sample is None:
        return None
    found = estimate([sample])
    if math.isclose(found.value, value, rel_tol=_CLOSE, abs_tol=_CLOSE):
        return found.stderr if math.isfinite(found.stderr) else None
    if found.value < 0 and math.isclose(math.exp(-found.value), value, rel_tol=_CLOSE):
        return value * found.stderr  # perplexity, to first order
    return None


def sample_of(items: Sequence[Item], key: str, weight: float = 1.0) -> Sample | None:
    """The items as a metric sees them; None where not all have it."""
    parts = [part for part in (item.part(key) for item in items) if part is not None]
    if not parts or len(parts) < len(items):
        return None
    columns = np.asarray(parts, np.float64).T
    return Sample(columns[0], columns[1], [item.cluster for item in items], weight)


def combined(
    name: str, metric: str, parts: Sequence[tuple[Score, float]], items: Mapping[str, Sequence[Item]]
) -> Score:
    """A weighted sum of scores, of tasks or of groups, with its standard error over all their items."""
    flat = [
        Part(part.task, part.metric, part.weight * weight) for score, weight in parts for part in score.parts
    ]
    value = sum(score.value * weight for score, weight in parts)
    samples = [sample_of(items[part.task], part.metric, part.weight) for part in flat]
    known = [sample for sample in samples if sample is not None]
    error: float | None = None
    if len(known) == len(flat) and all(score.stderr is not None for score, _ in parts):
        error = estimate(known).stderr
    count = sum(len(items[part.task]) for part in flat)
    higher = all(score.higher_is_better for score, _ in parts)
    return Score(name, metric, value, error, count, tuple(flat), higher)


def by_size(scores: Sequence[Score]) -> list[tuple[Score, float]]:
    """Scores with weights by their numbers of items."""
    total = sum(score.items for score in scores)
    return [(score, score.items / total) for score in scores]
