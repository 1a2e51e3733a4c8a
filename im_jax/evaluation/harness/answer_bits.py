"""How many bits the right answer of a choice takes, for models too small to choose.

Whether a choice is right is chance for a small model, long after its probabilities have begun to move. The
negative log-likelihood of the right answer, over the bytes of its text and in bits, moves from the start and
does not depend on the tokenizer. OLMES (arXiv:2406.08446) and later work on small models report it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

METRIC: Final = "answer_bits_per_byte"
"""As `METRIC,none` among an item's metrics. Lower is better."""


def answer_bits(task: Any, samples: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Bits a byte of the right answer of each item, by `doc_id`; none if the task has no one right choice.

    Args:
        task: the harness's task.
        samples: the harness's, one for each item and filter, with `arguments`, the pairs of context and
            continuation that were asked, and `resps`, a log-likelihood (natural) for each.
    """
    if getattr(task, "OUTPUT_TYPE", "") != "multiple_choice" or callable(task.config.process_results):
        return {}
    found = {}
    for sample in samples:
        # Where choices are ends of different contexts, the harness has the answer in the place of the text.
        doc = sample["doc"]
        answer = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
        choices = task.doc_to_choice(doc)
        if isinstance(answer, str) and answer in choices:
            answer = choices.index(answer)
        if not isinstance(answer, int) or not 0 <= answer < len(choices):
            return {}  # several right ones, or none that is known
        (log_likelihood, _), *_ = sample["resps"][answer]
        _, continuation = sample["arguments"][answer]
        found[int(sample["doc_id"])] = -log_likelihood / math.log(2) / len(continuation.encode())
    return found
