"""The suite's scalar measures of a run, and runs compared by them item by item."""

from typing import NamedTuple

import numpy as np

from im_jax.analysis.estimated import BleuOfAnswers, Measure, Ratio
from im_jax.analysis.losses import OUTPUT
from im_jax.analysis.suite import SETS, RunResult
from im_jax.evaluation.statistics.estimates import Sample
from im_jax.evaluation.statistics.intervals import holm
from im_jax.evaluation.statistics.paired import Difference
from im_jax.token_classes import MAIN_CLASSES, TokenClass

_NAMED = {"train": "training", "heldout": "held-out"}


def measures_of(result: RunResult) -> dict[str, Measure]:
    """Every measure of a run at its newest checkpoint that it has items for, by name."""
    found: dict[str, Measure] = {}
    means: list[Sample] = []
    for name in SETS:
        losses = result.newest.of(name)
        ids = _ids(result, name)
        each = losses.means(OUTPUT)
        there = ~np.isnan(each)
        if there.any():
            sample = _sample(each[there], np.ones(there.sum()), [ids[at] for at in np.flatnonzero(there)])
            means.append(sample)
            title = f"loss on outputs, {_NAMED[name]}, mean over examples"
            found[f"output_loss/{name}"] = Ratio(title, "nats", [sample])
        for main in MAIN_CLASSES:
            nll, tokens = losses.of([main])
            if tokens.any() and main not in (TokenClass.PAD, TokenClass.BOS):
                title = f"NLL of {main.label}, {_NAMED[name]}, mean over tokens"
                found[f"nll/{main.label}/{name}"] = Ratio(title, "nats", [_sample(nll, tokens, ids)])
    if len(means) == len(SETS):
        gap = [means[0]._replace(weight=-1.0), means[1]]
        found["output_gap"] = Ratio("loss on outputs, held-out minus training", "nats", gap)
    for name, answers in result.answers.items():
        ids = [each.id for each in answers.answers]
        title = f"BLEU of {_NAMED[name]} answers"
        found[f"bleu/{name}"] = BleuOfAnswers(title, "%", answers.bleu, ids)
        for kind, counts in answers.copied.items():
            where = "its own output" if kind == "own" else "any training output"
            columns = np.asarray(counts, np.float64).reshape(-1, 2).T
            if columns[1].sum():
                title = f"n-grams of {_NAMED[name]} answers found in {where}"
                found[f"copied_{kind}/{name}"] = Ratio(title, "share", [_sample(columns[0], columns[1], ids)])
        for length, verdicts in answers.extracted.items():
            if verdicts:
                right = np.asarray([is_right for _, is_right in verdicts], np.float64)
                clusters = [str(number) for number, _ in verdicts]
                title = f"next {length} tokens of {_NAMED[name]} outputs continued verbatim"
                sample = _sample(right, np.ones(len(right)), clusters)
                found[f"extracted_{length}/{name}"] = Ratio(title, "share", [sample])
        sizes = np.asarray([(len(each.tokens), len(each.reference_tokens)) for each in answers.answers])
        title = f"length of {_NAMED[name]} answers over that of references"
        found[f"length/{name}"] = Ratio(title, "ratio", [_sample(sizes[:, 0], sizes[:, 1], ids)])
    if result.text is not None:
        change = result.text.nll - result.text.start
        clusters = [str(number) for number in range(len(change))]
        sample = _sample(change, result.text.tokens, clusters)
        found["forgetting"] = Ratio("NLL of plain text, minus that before training", "nats", [sample])
    return found


class Comparison(NamedTuple):
    """A run against the first."""

    first: str
    second: str
    differences: dict[str, Difference]
    corrected: dict[str, float]
    """p of each, corrected for their number by Holm's steps."""
    left_out: dict[str, str]
    """Measures that cannot be paired, and why."""


def compared(first: RunResult, second: RunResult) -> Comparison:
    """Every measure that both runs have, paired item by item."""
    mine, theirs = measures_of(first), measures_of(second)
    differences: dict[str, Difference] = {}
    left_out: dict[str, str] = {}
    for name in mine | theirs:
        if name not in mine or name not in theirs:
            left_out[name] = f"{(first if name not in mine else second).run.name} has no such measure"
            continue
        one, other = mine[name], theirs[name]
        items = one.items()
        if items != other.items():
            left_out[name] = "they are of other items"
        elif sum(map(len, items)) < 2:
            left_out[name] = "there is one item alone"
        else:
            differences[name] = one.to(other, name)
    corrected = holm([each.p for each in differences.values()]) if differences else []
    p = dict(zip(differences, corrected, strict=True))
    return Comparison(first.run.name, second.run.name, differences, p, left_out)


def _ids(result: RunResult, name: str) -> list[str]:
    run = result.run
    return [view.id for view in (run.train if name == "train" else run.heldout).views]


def _sample(numerators: np.ndarray, denominators: np.ndarray, clusters: list[str]) -> Sample:
    return Sample(np.asarray(numerators, np.float64), np.asarray(denominators, np.float64), clusters)
