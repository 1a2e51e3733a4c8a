"""Scores of what was asked for: tasks, groups of tasks by their own rule, tags, and the paper's list."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from im_jax.evaluation.harness import answer_bits, paper
from im_jax.evaluation.harness.definitions import Definitions
from im_jax.evaluation.harness.loading import Wanted
from im_jax.evaluation.harness.scoring import by_size, combined
from im_jax.evaluation.items import Item
from im_jax.evaluation.results import Kind, Score

Leaves = Mapping[str, Sequence[Score]]
"""Scores by task."""
Items = Mapping[str, Sequence[Item]]


def summarised(
    wanted: Wanted, definitions: Definitions, leaves: Leaves, items: Items
) -> tuple[list[Score], dict[str, Any] | None]:
    """All scores, each once, what was asked for first; and the paper's list, if that was asked for."""
    scores: list[Score] = []
    told = None
    if wanted.is_paper:
        entries = {
            entry.name: score
            for entry in paper.ENTRIES
            if (score := _entry(entry, definitions, leaves, items)) is not None
        }
        means, told = paper.means(entries, items)
        scores += [*means, *entries.values()]
    for name in wanted.by_name:
        if name == paper.HUMAN_EVAL or definitions.group(name) is None:
            scores += leaves[name]
        else:
            scores += _group(name, definitions, leaves, items)
    parts = [dataclasses.replace(score, kind=Kind.PART) for each in leaves.values() for score in each]
    once: dict[tuple[str, str], Score] = {}
    for score in [*scores, *parts]:
        once.setdefault((score.name, score.metric), score)
    return list(once.values()), told


def _entry(entry: paper.Entry, definitions: Definitions, leaves: Leaves, items: Items) -> Score | None:
    """The score of an entry of the paper's list; None if a task of it is missing."""
    names = [
        leaf
        for task in entry.tasks
        for leaf in ([task] if task == paper.HUMAN_EVAL else definitions.leaves(task))
    ]
    if not set(names) <= leaves.keys():
        return None
    parts = [_of(leaves[name], entry.metric) for name in names]
    if None in parts:
        return None
    known = [part for part in parts if part is not None]
    weighted = [(score, weight * entry.scale) for score, weight in by_size(known)]
    return combined(entry.name, entry.metric, weighted, items)


def _group(name: str, definitions: Definitions, leaves: Leaves, items: Items) -> list[Score]:
    """Scores of a group as its definition says; of a tag all metrics of its tasks, weighted by size."""
    definition = definitions.group(name) or {}
    own = [leaves[leaf] for leaf in definitions.leaves(name)]
    rules = definition.get("aggregate_metric_list")
    if rules is None:
        rules = [{"metric": metric} for metric in {s.metric.partition(",")[0]: None for s in own[0]}]
    else:  # no definition knows of what is ours
        rules = [*(rules if isinstance(rules, list) else [rules]), {"metric": answer_bits.METRIC}]
    found = []
    for rule in rules:
        filters = rule.get("filter_list") or []
        keys = [
            f"{rule['metric']},{each}" for each in ([filters] if isinstance(filters, str) else filters)
        ] or [score.metric for score in own[0] if score.metric.partition(",")[0] == rule["metric"]]
        for key in keys:
            known = [score for score in (_of(scores, key) for scores in own) if score is not None]
            if len(known) < len(own):
                continue
            even = [(score, 1 / len(known)) for score in known]
            weighted = by_size(known) if rule.get("weight_by_size", True) else even
            found.append(combined(name, key, weighted, items))
    return found


def _of(scores: Sequence[Score], metric: str) -> Score | None:
    return next((score for score in scores if score.metric == metric), None)
