"""What is asked, and what is answered."""

from typing import NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.generation.parameters import SamplingParams


class Request(NamedTuple):
    """A prompt."""

    id: str
    """Decides the draws, with the seed."""
    tokens: jt.Int32[np.ndarray, " T"]
    """Of `Model.prompt` or `Model.text`; at least one."""
    params: SamplingParams
    continues: bool = False
    """Whether the answer's text goes on where the prompt's ends, with the space between them."""


class Completion(NamedTuple):
    """An answer."""

    id: str
    """Of the request."""
    sample: int
    """Number of the answer, from 0 to `params.n - 1`."""
    text: str
    """Without what ended it, unless that was asked for."""
    token_ids: list[int]
    """All that were drawn, those that ended it included."""
    finish_reason: str
    """`stop`, or `length`: `max_tokens` or the model's positions were used up."""
    stop_reason: int | str | None
    """Which of `stop_token_ids` or `stop` ended it; None: an end of the model's own, or length."""
    prompt_tokens: int
    """Tokens of the prompt."""
    cumulative_logprob: float
    """Of all tokens, by the model itself: before penalties, temperature and filters."""
    logprobs: list[dict[int, float]] | None
    """Of each token, log-probabilities by id: the chosen one's first, then from the most likely one on."""
