"""From times to numbers that can be compared."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from im_jax.bench.contestant import difference
from im_jax.bench.methods import BASELINES
from im_jax.bench.rounds import Measurement, Outcome
from im_jax.bench.sizes import TRAIN_STEPS

_COMPARED_WITH_BASELINE: Final = ("losses", "answers", "tokens", "logprobs")
"""Values without a reference: what training, decoding and preparation arrive at."""


class Summary(NamedTuple):
    """The times of one contestant over all rounds, in seconds."""

    median: float
    p10: float
    p90: float
    ratio: float | None
    """Median over rounds of the baseline's time by this one's: above 1 is faster than the baseline."""
    ratio_of_medians: float | None


def summarise(seconds: Sequence[float], baseline: Sequence[float] | None) -> Summary:
    """Statistics of times by round; a baseline's times are of the same rounds, in the same order."""
    p10, median, p90 = np.percentile(seconds, [10, 50, 90])
    if not baseline:
        return Summary(float(median), float(p10), float(p90), None, None)
    rounds = min(len(seconds), len(baseline))
    ratios = np.asarray(baseline[:rounds]) / np.asarray(seconds[:rounds])
    of_medians = np.median(baseline) / median
    return Summary(float(median), float(p10), float(p90), float(np.median(ratios)), float(of_medians))


class Row(NamedTuple):
    """What a report says of a contestant that ran."""

    outcome: Outcome
    summary: Summary
    rate: float | None
    """Useful FLOP/s; of a matrix product, all."""
    share: float | None
    """Of the rate of matrix products in the same rounds."""
    differences: dict[str, float]
    """Relative differences from the expected values, by name."""


def rows(measurement: Measurement) -> list[Row]:
    """A row for every contestant that was timed."""
    timed = {
        outcome.name: outcome
        for outcome in measurement.outcomes
        if outcome.status == "ready" and outcome.seconds
    }
    baseline = timed.get(BASELINES[measurement.case.benchmark])
    flops, best = useful_flops(measurement), matmul_rate(measurement)
    found = []
    for outcome in timed.values():
        is_matmul = "matmul_flops" in outcome.values
        summary = summarise(outcome.seconds, baseline.seconds if baseline and not is_matmul else None)
        work = outcome.values["matmul_flops"] if is_matmul else flops
        rate = work / summary.median if work else None
        found.append(
            Row(
                outcome=outcome,
                summary=summary,
                rate=rate,
                share=rate / best[1] if rate and best else None,
                differences=difference(outcome.values, _expected(measurement)),
            )
        )
    return found


def useful_flops(measurement: Measurement) -> float | None:
    """Floating-point operations that the result needs, whatever a contestant really does.

    cross_entropy: 6 n D V of the n tokens with loss. attention: 12 H K for each pair of tokens that see
    each other (2 products forward, 4 backward). train_step, lora and training of rewrites: of the model, by
    `im_jax.models.counts.flops_per_token`; all tokens count in the head, with loss or not.
    """
    if measurement.case.benchmark in ("likelihood", "generate"):
        return None  # the reference tells those of a training step
    flops = measurement.reference.values.get("flops")
    return float(flops) if flops else None


def matmul_rate(measurement: Measurement) -> tuple[str, float] | None:
    """Which product all rates are a share of, and its FLOP/s.

    The fastest of the case's type; for a training step always JAX's in float32.
    """
    case = measurement.case
    suffix = "jax:float32" if case.benchmark in TRAIN_STEPS else case.dtype
    rates = {
        outcome.name: outcome.values["matmul_flops"] / summarise(outcome.seconds, None).median
        for outcome in measurement.outcomes
        if outcome.seconds and "matmul_flops" in outcome.values and outcome.name.endswith(suffix)
    }
    return max(rates.items(), key=lambda item: item[1]) if rates else None


def _expected(measurement: Measurement) -> dict[str, object]:
    """In float64, or what the baseline arrives at, else the first that ran."""
    if measurement.case.benchmark not in (*TRAIN_STEPS, "rewrites", "prepare", "likelihood", "generate"):
        return measurement.reference.values
    by_name = {
        outcome.name: outcome.values
        for outcome in measurement.outcomes
        if any(name in outcome.values for name in _COMPARED_WITH_BASELINE)
    }
    first = next(iter(by_name.values()), {})
    return by_name.get(BASELINES[measurement.case.benchmark], first)
