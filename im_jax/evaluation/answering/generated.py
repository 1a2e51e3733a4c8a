"""Answers to a benchmark from a model of ours."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from im_jax.data.records.conversation import Message
from im_jax.errors import DataError
from im_jax.evaluation.answering.asked import Answered, Asked, Generate, Sampling
from im_jax.generation.generator import Generator
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Request
from im_jax.models.loaded import Model


def params_of(sampling: Sampling, seed: int) -> SamplingParams:
    """What the engine is told. Raises `DataError` at what is not allowed."""
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        n=sampling.samples,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stop=sampling.stop,
        seed=seed,
    )


def answers_of(model: Model, generator: Generator, seed: int) -> Generate:
    """A function that answers prompts, on all processes.

    A prompt that is too long, or that the template cannot write, is answered by the reason why not.

    Args:
        model: that answers.
        generator: of the same model.
        seed: with the id of a prompt it decides what is drawn.
    """

    def generate(asked: Sequence[Asked]) -> Iterator[Answered]:
        requests = []
        for each in asked:
            try:
                request = _request(model, each, seed)
                generator.check(request)
            except DataError as error:
                reason = str(error).removeprefix(f"{each.id}: ")
                yield from (Answered(each.id, at, "", False, reason) for at in range(each.sampling.samples))
                continue
            requests.append(request)
        if requests:
            for found in generator(requests):
                yield Answered(found.id, found.sample, found.text, found.finish_reason == "stop")

    return generate


def identity(model: Model, weights: str, generator: Generator, *, chat: bool) -> dict[str, Any]:
    """What decides a model's answers beside prompts and sampling.

    Args:
        model: that answers.
        weights: a name for its values, such as their digest.
        generator: of the same model.
        chat: whether it is asked in its template.
    """
    shown = (Message("user", "What is 3 + 4?"),)
    tokens = model.prompt(shown) if chat else model.text(shown[0].content)
    return {
        "weights": weights,
        "compute_dtype": model.config.compute_dtype,
        "tokens of a prompt": hashlib.sha256(str(tokens.tolist()).encode()).hexdigest()[:16],
        "slots": generator.slots,
    }


def _request(model: Model, asked: Asked, seed: int) -> Request:
    continues = isinstance(asked.prompt, str)
    tokens = model.text(asked.prompt) if isinstance(asked.prompt, str) else model.prompt(asked.prompt)
    return Request(asked.id, tokens, params_of(asked.sampling, seed), continues)
