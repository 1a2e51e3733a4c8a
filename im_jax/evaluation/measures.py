"""From sums by token class to the numbers that a reader sees."""

import numpy as np

from im_jax.evaluation.protocol import Entry
from im_jax.losses.by_class import ClassSums
from im_jax.token_classes import MAIN_CLASSES, TokenClass


def class_metrics(sums: ClassSums) -> Entry:
    """`nll/CLASS` (mean, nats) and `tokens/CLASS` by main class, from sums over sub-classes.

    `nll/CLASS` is there only where losses of the class were computed.
    """
    entry: Entry = {}
    for main in MAIN_CLASSES:
        members = [c for c in TokenClass if c.main is main]
        nll, measured, targets = (float(np.sum(np.asarray(field)[members])) for field in sums)
        if targets:
            entry[f"tokens/{main.label}"] = int(targets)
        if measured:
            entry[f"nll/{main.label}"] = nll / measured
    return entry


def policy_loss(sums: ClassSums, class_weights: np.ndarray) -> float:
    """Mean NLL over tokens, weighted by class: one number to compare a policy on held-out data."""
    weight = class_weights[: len(sums.nll)] * np.asarray(sums.measured)
    mean = np.asarray(sums.nll) / np.maximum(np.asarray(sums.measured), 1)
    return float(np.sum(weight * mean) / np.sum(weight)) if weight.any() else float("nan")
