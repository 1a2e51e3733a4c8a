"""User text of Alpaca and Dolly: one of 14 wrappers around instruction and input, or of 14 around the former.

The released code of Instruction Modelling draws a wrapper for each example. Structure and weights here are
its own: how the parts are joined, where labels and lead-ins stand, where a newline goes into the answer. The
words of labels and lead-ins are ours, but for the last wrapper of each kind, which is Alpaca's own. So texts
differ from the released ones, and lengths by some words.

A wrapper is chosen by a hash of (seed, number of the example), not by a generator that all examples share, so
that any example can be made at any time.
"""

import bisect
import hashlib
import itertools
from typing import Final, NamedTuple

SEED: Final = 42


class Wrapper(NamedTuple):
    """What user and assistant say, with `{instruction}`, `{input}` and `{output}` in it."""

    user: str
    assistant: str
    weight: float


_REQUEST: Final = (
    "Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}"
)
_PAIRED: Final = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
)
WITH_INPUT: Final = (
    Wrapper("{instruction}\n\n{input}\n\n", "{output}", 0.2),
    Wrapper("{instruction}\n{input}\n\n", "{output}", 0.1),
    Wrapper("{instruction}\n{input}\n", "{output}", 0.1),
    Wrapper("{instruction}\n\nGiven: {input}\n\nReply:", "{output}", 0.05),
    Wrapper("{instruction}\nGiven: {input}\nReply:", "{output}", 0.05),
    Wrapper("{instruction}\n{input}\n\nSolution:", "{output}", 0.05),
    Wrapper("{instruction}\n\nHere is the material:\n{input}\n\nReply:", "{output}", 0.05),
    Wrapper("Question: {instruction}\nGiven: {input}\nReply:", "{output}", 0.05),
    Wrapper("Question: {instruction}\n\n{input}\n\n", "{output}", 0.05),
    Wrapper("Question: {instruction}\n\n{input}\n\nSolution:", "{output}", 0.05),
    Wrapper("Here is something for you to do.\n\n{instruction}\n\n{input}\n\nSolution:", "{output}", 0.05),
    Wrapper("{instruction}\n\nDo this for the following case.\nGiven: {input}\nReply:", "{output}", 0.05),
    Wrapper("Request: {instruction}\n\nGiven: {input}\n\n", "{output}", 0.05),
    Wrapper(_PAIRED + _REQUEST + "\n\n### Input:\n{input}\n\n### Response:", "{output}", 0.1),
)
WITHOUT_INPUT: Final = (
    Wrapper("{instruction}\n\n", "{output}", 0.2),
    Wrapper("{instruction}\n", "{output}", 0.1),
    Wrapper("{instruction}", "\n{output}", 0.1),
    Wrapper("{instruction} Reply:", "{output}", 0.05),
    Wrapper("{instruction}\nSolution:", "{output}", 0.05),
    Wrapper("{instruction}\n\nReply:", "{output}", 0.05),
    Wrapper("Question: {instruction}\n\n", "{output}", 0.05),
    Wrapper("Request: {instruction}\n", "{output}", 0.05),
    Wrapper("Request: {instruction}\nReply:", "{output}", 0.05),
    Wrapper("Here is something for you to do.\n\n{instruction}\n\n", "{output}", 0.05),
    Wrapper("Could you take care of this for me?\n\n{instruction}\n", "{output}", 0.05),
    Wrapper("I would be glad of an answer to this: {instruction}\nReply:", "{output}", 0.05),
    Wrapper("How would you handle the request below?\n{instruction}\n", "{output}", 0.05),
    Wrapper(_REQUEST + "\n\n### Response:", "{output}", 0.1),
)


def wrapped(instruction: str, input: str, output: str, number: int, seed: int = SEED) -> tuple[str, str]:
    """What user and assistant say.

    Args:
        instruction: as in the data; white space around it goes, as it does around the others.
        input: a blank one is none.
        output: the answer.
        number: of the example, from 0; it and the seed choose the wrapper.
        seed: that of the released code.
    """
    parts = {"instruction": instruction.strip(), "input": input.strip(), "output": output.strip()}
    wrapper = choose(WITH_INPUT if parts["input"] else WITHOUT_INPUT, number, seed)
    return wrapper.user.format(**parts), wrapper.assistant.format(**parts)


def choose(wrappers: tuple[Wrapper, ...], number: int, seed: int = SEED) -> Wrapper:
    """One of the wrappers, with probabilities as their weights."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    bounds = list(itertools.accumulate(wrapper.weight for wrapper in wrappers))
    at = bisect.bisect_right(bounds, int.from_bytes(digest, "big") / 2**64 * bounds[-1])
    return wrappers[min(at, len(wrappers) - 1)]
