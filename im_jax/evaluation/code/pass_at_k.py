"""pass@k: how often one of k programs, at least, solves a problem; without bias, from n >= k of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PassAtK:
    """Mean over problems, as a share.

    Attributes:
        value: the mean.
        standard_error: over problems, with n - 1; `nan` for one problem.
        problems: how many.
    """

    value: float
    standard_error: float
    problems: int


def pass_at_k(programs: int, passed: int, k: int) -> float:
    """The chance that k of n programs, drawn without putting back, hold one that passed.

    Equation 1 of "Evaluating Large Language Models Trained on Code" (Chen et al., 2021):
    1 - C(n - c, k) / C(n, k).

    Raises:
        ValueError: there are fewer programs than k.
    """
    if not 1 <= k <= programs or not 0 <= passed <= programs:
        raise ValueError(f"pass@{k} of {passed} passed of {programs} is not defined")
    return 1.0 - math.comb(programs - passed, k) / math.comb(programs, k)


def mean_pass_at_k(outcomes: Mapping[str, Sequence[bool]], k: int) -> PassAtK:
    """pass@k over problems.

    Args:
        outcomes: by problem, whether each of its programs passed.
        k: of the name.

    Raises:
        ValueError: a problem has fewer programs than k, or there is no problem.
    """
    if not outcomes:
        raise ValueError("no problem, no pass@k")
    values = [pass_at_k(len(passed), sum(passed), k) for passed in outcomes.values()]
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return PassAtK(mean, math.nan, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return PassAtK(mean, math.sqrt(variance / len(values)), len(values))
