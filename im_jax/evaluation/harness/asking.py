"""What a model is asked for by tasks, computed: likelihoods, and generated texts."""

from typing import Any

import numpy as np

from im_jax.evaluation.harness.lm import Asked
from im_jax.evaluation.harness.running import GENERATE, SCORE, Answers
from im_jax.evaluation.likelihood import Likelihoods
from im_jax.generation import Generator, Request, SamplingParams
from im_jax.models.loaded import Model


def answers_of(model: Model) -> Answers:
    """For `im_jax.evaluation.harness.running.run`; to be called on all processes."""
    likelihoods, generator = Likelihoods(model), Generator(model)

    def score(pairs: Any) -> list[tuple[float, bool]]:
        return [(found.logprob, found.is_greedy) for found in likelihoods(pairs)]

    def generate(asked: Any) -> list[str]:
        requests = [_request(number, Asked(*each)) for number, each in enumerate(asked)]
        found = {completion.id: completion.text for completion in generator(requests)}
        return [found[request.id] for request in requests]

    return {SCORE: score, GENERATE: generate}


def _request(number: int, asked: Asked) -> Request:
    sampling: dict[str, Any] = dict(asked.sampling)
    params = SamplingParams(
        max_tokens=asked.max_tokens, stop=tuple(asked.stop), seed=asked.number, **sampling
    )
    return Request(str(number), np.asarray(asked.tokens, np.int32), params, asked.continues)
