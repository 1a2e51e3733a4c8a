"""How many of N examples each rule gets."""

from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.studies.rewrites.examples.random_access import draw

_STREAM: Final = 101


def shares(allocation: str, rules: int, alpha: float, seed: int) -> jt.Float64[np.ndarray, " {rules}"]:
    """Share of the examples that each rule gets; they add up to 1.

    `uniform`: equal. `long_tail`: weights drawn independently from the density `alpha * x ** (alpha - 1)` on
    (0, 1), the reading that agrees with all that the paper says (arXiv:2402.10891, on long tails); they count
    as about `rules * alpha (alpha + 2) / (alpha + 1)**2` equal ones. `long_tail_by_rank`: the density itself
    at evenly spaced ranks, the other reading, which is uniform at alpha = 1.
    """
    match allocation:
        case "uniform":
            weights = np.ones(rules)
        case "long_tail":
            uniform = (draw(seed, _STREAM, np.arange(rules), 1)[:, 0] + 0.5) / 2**32
            # In logarithms: a small alpha makes most weights smaller than any float.
            logarithms = np.log(uniform) / alpha
            weights = np.exp(logarithms - logarithms.max())
        case "long_tail_by_rank":
            weights = ((np.arange(rules) + 0.5) / rules) ** (alpha - 1)
        case _:
            raise ValueError(f"allocation {allocation!r} is unknown")
    return weights / weights.sum()


def counts(shares: jt.Float64[np.ndarray, " I"], examples: int) -> jt.Int64[np.ndarray, " I"]:
    """Whole numbers as near to `shares * examples` as add up to `examples` (largest remainders)."""
    exact = shares * examples
    whole = np.floor(exact).astype(np.int64)
    most_wanting = np.argsort(-(exact - whole), kind="stable")
    whole[most_wanting[: examples - whole.sum()]] += 1
    return whole


def effective_number(counts: jt.Int64[np.ndarray, " I"]) -> float:
    """The number of equally frequent rules that are as diverse: the inverse of the sum of squared shares."""
    total = int(counts.sum())
    return float(total**2 / np.sum(np.square(counts.astype(np.float64)))) if total else 0.0
