"""`im_paper`: the 18 tasks of "Instruction Tuning With Loss Over Instructions" (arXiv:2405.14394), its shots,
metrics, six categories and their mean.

WMT is told as translation error rate over 100, and the paper's mean takes it as if higher were better: the
mean is given both ways, `as the paper` and with 1 - TER. A task whose data is missing is missing, also from
the means, of which the paper's are only there where nothing is missing; HumanEval is run where it is asked
for by name, and the paper counted it as 0 where it was not.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from im_jax.evaluation.harness.scoring import combined
from im_jax.evaluation.items import Item
from im_jax.evaluation.results import Kind, Score

NAME: Final = "im_paper"
HUMAN_EVAL: Final = "humaneval"


class Entry(NamedTuple):
    """A line of the paper's list."""

    name: str
    tasks: tuple[str, ...]
    """Tasks, groups or tags of lm-evaluation-harness; several are one number, weighted by their sizes."""
    metric: str
    """`METRIC,FILTER`."""
    shots: int | None = None
    """Examples in the prompt; None: as many as the task's own definition says."""
    scale: float = 1.0


WMT: Final = "wmt14, wmt16"
CATEGORIES: Final[Mapping[str, tuple[Entry, ...]]] = {
    "understanding & knowledge": (
        Entry("mmlu", ("mmlu",), "acc,none", 5),
        Entry("piqa", ("piqa",), "acc_norm,none", 10),
        Entry("openbookqa", ("openbookqa",), "acc_norm,none"),
        Entry("hellaswag", ("hellaswag",), "acc_norm,none", 10),
        Entry("lambada", ("lambada_openai",), "acc,none"),
    ),
    "multilinguality": (
        Entry("lambada_multilingual", ("lambada_multilingual",), "acc,none"),
        Entry(WMT, ("wmt14", "wmt16"), "ter,none", scale=0.01),
    ),
    "commonsense": (
        Entry("wsc273", ("wsc273",), "acc,none"),
        Entry("winogrande", ("winogrande",), "acc,none", 5),
        Entry("ai2_arc", ("ai2_arc",), "acc_norm,none", 25),
        Entry("coqa", ("coqa",), "f1,none", 0),
    ),
    "math & code": (
        Entry("gsm8k_cot", ("gsm8k_cot",), "exact_match,strict-match", 8),
        Entry(HUMAN_EVAL, (HUMAN_EVAL,), "pass@1,none", 0),
    ),
    "bbh": (Entry("bbh_cot_fewshot", ("bbh_cot_fewshot",), "exact_match,get-answer"),),
    "safety & helpfulness": (
        Entry("truthfulqa_mc2", ("truthfulqa_mc2",), "acc,none"),
        Entry("toxigen", ("toxigen",), "acc,none"),
        Entry("hendrycks_ethics", ("hendrycks_ethics",), "acc,none"),
    ),
}
MEANS: Final[Mapping[str, bool]] = {"mean, as the paper": False, "mean, with 1 - TER": True}
"""Means over categories, and whether TER is turned round in them."""
ENTRIES: Final = tuple(entry for entries in CATEGORIES.values() for entry in entries)


def means(
    entries: Mapping[str, Score], items: Mapping[str, Sequence[Item]]
) -> tuple[list[Score], dict[str, Any]]:
    """Category means and the mean over categories.

    Args:
        entries: what is there, by the name of the entry.
        items: by task.

    Returns:
        Scores of categories and means of which nothing is missing, to be compared like others; and all of it
        for a reader: values (None where something is missing), means of what is there, and what is missing.
    """
    scores: list[Score] = []
    told: dict[str, Any] = {"categories": {}}
    whole: dict[str, Score] = {}
    for category, members in CATEGORIES.items():
        there = [entries[entry.name] for entry in members if entry.name in entries]
        mean = _mean(f"{NAME}: {category}", there, items) if there else None
        complete = len(there) == len(members)
        if mean is not None and complete:
            scores.append(mean)
            whole[category] = mean
        told["categories"][category] = {
            "value": mean.value if mean is not None and complete else None,
            "of_what_is_there": None if mean is None else mean.value,
            "entries": {e.name: entries[e.name].value if e.name in entries else None for e in members},
        }
    told["missing"] = [entry.name for entry in ENTRIES if entry.name not in entries]
    for name, flipped in MEANS.items():
        values = [_value(told["categories"][c], flipped) for c in CATEGORIES]
        there_values = [_value(told["categories"][c], flipped, partly=True) for c in CATEGORIES]
        known = [value for value in there_values if value is not None]
        told[name] = {
            "value": None if None in values else sum(v for v in values if v is not None) / len(values),
            "of_what_is_there": sum(known) / len(known) if known else None,
        }
    if len(whole) == len(CATEGORIES):
        scores.append(_mean(f"{NAME}: mean, as the paper", list(whole.values()), items))
    return scores, told


def _mean(name: str, scores: Sequence[Score], items: Mapping[str, Sequence[Item]]) -> Score:
    found = combined(name, "mean", [(score, 1 / len(scores)) for score in scores], items)
    return dataclasses.replace(found, higher_is_better=True, kind=Kind.MEAN)


def _value(category: Mapping[str, Any], flipped: bool, partly: bool = False) -> float | None:
    """Mean of a category, with 1 - TER if flipped; None where something is missing: if partly, all of it."""
    values = [
        1 - value if flipped and name == WMT and value is not None else value
        for name, value in category["entries"].items()
    ]
    known = [value for value in values if value is not None]
    if not known or (not partly and len(known) < len(values)):
        return None
    return sum(known) / len(known)
