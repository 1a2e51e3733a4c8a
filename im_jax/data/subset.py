"""Part of a data set: of a size, or of a size and a ratio of instruction to output."""

import jaxtyping as jt
import numpy as np

from im_jax.errors import ConfigError


def subset(
    instruction_words: jt.Int[np.ndarray, " E"],
    output_words: jt.Int[np.ndarray, " E"],
    *,
    examples: int,
    ratio: float | None,
    seed: int,
) -> jt.Int64[np.ndarray, " N"]:
    """The numbers of the examples that are taken, in order.

    All are put in an order that the seed decides, and the first are taken: of a larger number, a smaller one
    takes a part. With a ratio, those come first whose own ratio is closest to it, as the paper chooses
    (Instruction Modelling, section 4: about 5, 10 and 15); equally close ones in the order of the seed.

    Args:
        instruction_words: words of system and user messages, one more for each message.
        output_words: the same of the assistant's; where there are none, the ratio is 0.
        examples: how many; 0: all.
        ratio: instruction to output; None: any.
        seed: decides the order.

    Raises:
        ConfigError: there are fewer.
    """
    count = len(instruction_words)
    if not examples:
        return np.arange(count, dtype=np.int64)
    if examples > count:
        raise ConfigError(
            f"data.subset.examples={examples} is more than the {count:,} usable examples; lower it"
        )
    order = np.random.default_rng(seed).permutation(count)
    if ratio is not None:
        own = np.divide(instruction_words, output_words, out=np.zeros(count), where=output_words > 0)
        order = order[np.argsort(np.abs(own - ratio)[order], kind="stable")]
    return np.sort(order[:examples]).astype(np.int64)
