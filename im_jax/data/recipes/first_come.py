"""The first so many of each of a set's own sources, as the paper's 10, 20 and 50 % of Tülu V2 are taken."""

from collections import Counter
from collections.abc import Sequence

import jaxtyping as jt
import numpy as np


def first_come(sources: Sequence[str], share: float) -> jt.Bool[np.ndarray, " E"]:
    """Which of E records are taken.

    Of all E, `int(share * E)` are. Each source gives `int(its share of E * that)`, the first in file order;
    what rounding leaves open is filled by the first further records of any source.

    Args:
        sources: the source of each record, in file order.
        share: of all records, in (0, 1].
    """
    counts = Counter(sources)
    wanted = int(share * len(sources))
    left = {name: int(count / len(sources) * wanted) for name, count in counts.items()}
    gap = wanted - sum(left.values())
    taken = np.zeros(len(sources), bool)
    for number, name in enumerate(sources):
        if left[name] > 0:
            left[name] -= 1
        elif gap > 0:
            gap -= 1
        else:
            continue
        taken[number] = True
    return taken
