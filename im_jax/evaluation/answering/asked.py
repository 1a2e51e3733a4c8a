"""What a benchmark asks of a model, and what comes back, whatever generates it."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from im_jax.data.records.conversation import Message


class Sampling(NamedTuple):
    """How answers are drawn."""

    max_tokens: int
    """Of an answer, at most."""
    temperature: float = 0.0
    """0: the likeliest token each time."""
    top_p: float = 1.0
    samples: int = 1
    """Answers to the same prompt."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, and are no part of it."""


class Asked(NamedTuple):
    """A prompt."""

    id: str
    """Once in a benchmark. What is drawn depends on it, and on the seed."""
    prompt: tuple[Message, ...] | str
    """A conversation that the model answers, in its template; or a text that it goes on with."""
    sampling: Sampling


class Answered(NamedTuple):
    """An answer."""

    id: str
    sample: int
    """From 0."""
    text: str
    """Without the stop."""
    ended: bool
    """Whether the model stopped by itself; else its tokens ran out."""
    failure: str = ""
    """Why there is no answer, if there can be none."""


Generate = Callable[[Sequence[Asked]], Iterator[Answered]]
"""Answers prompts, in any order, each with all its samples; on all processes, the same."""
Answers = dict[tuple[str, int], Answered]
"""By id and sample."""
