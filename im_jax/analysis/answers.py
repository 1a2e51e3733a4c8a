"""Greedy answers to the instructions of examples, held to their outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from im_jax.activity import Activity
from im_jax.analysis.stretches import Asked, last_answer
from im_jax.analysis.texts import share_within, token_grams
from im_jax.data.dataset import ExampleView
from im_jax.evaluation.likelihood import Likelihoods
from im_jax.generation.generator import Generator
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Request
from im_jax.models.loaded import Model


@dataclass(frozen=True)
class Answered:
    """An answer and what the example says."""

    id: str
    number: int
    """Of the example among those that were asked about."""
    text: str
    tokens: np.ndarray
    """Without what ended it."""
    reference: str
    reference_tokens: np.ndarray
    whole: bool
    """Whether the model ended it by itself."""


def answers_to(
    model: Model, examples: Sequence[ExampleView], *, max_tokens: int, doing: Activity, what: str
) -> list[Answered]:
    """The model's greedy answer where the last answer of each example stands; some have none, or no room.

    Args:
        model: that answers.
        examples: encoded.
        max_tokens: of an answer, at most.
        doing: shows how far it is.
        what: is answered, for who waits.
    """
    most = model.config.max_positions
    asked = {str(number): last_answer(example) for number, example in enumerate(examples)}
    wanted = {id: each for id, each in asked.items() if each is not None and len(each.prompt) < most}
    params = SamplingParams(max_tokens=max_tokens)
    requests = [Request(id, each.prompt, params) for id, each in wanted.items()]
    found: list[Answered] = []
    with doing(f"answering {len(requests)} {what}", len(requests)) as advance:
        for completion in Generator(model)(requests):
            advance(1)
            number, each = int(completion.id), wanted[completion.id]
            whole = completion.finish_reason == "stop"
            tokens = _without_stop(completion.token_ids, model) if whole else completion.token_ids
            reference = model.tokenizer.decode(each.answer)
            found.append(
                Answered(
                    *(examples[number].id, number, completion.text, np.asarray(tokens, np.int32)),
                    *(reference, each.answer, whole),
                )
            )
    return sorted(found, key=lambda each: each.number)


def _without_stop(tokens: list[int], model: Model) -> list[int]:
    for stop in sorted(model.stops, key=len, reverse=True):
        if tokens[-len(stop) :] == stop:
            return tokens[: -len(stop)]
    return tokens[:-1] if tokens[-1:] == [model.tokenizer.eos_id] else tokens


def copied(answers: Sequence[Answered], n: int, anywhere: np.ndarray) -> dict[str, list[tuple[int, int]]]:
    """N-grams of tokens of each answer that its own reference has, and that any training output has."""
    grams = [token_grams(each.tokens, n) for each in answers]
    own = [token_grams(each.reference_tokens, n) for each in answers]
    return {
        "own": [share_within(*pair) for pair in zip(grams, own, strict=True)],
        "any": [share_within(each, anywhere) for each in grams],
    }


def extracted(
    likelihoods: Likelihoods, examples: Sequence[ExampleView], *, prefix: int, lengths: Sequence[int]
) -> dict[int, list[tuple[int, bool]]]:
    """Whether greedy decoding goes on verbatim behind a prompt and the first tokens of its output.

    Args:
        likelihoods: of the model.
        examples: encoded.
        prefix: tokens of the output that are given.
        lengths: tokens that must follow.

    Returns:
        By length, number and verdict of each example whose output is long enough.
    """
    asked: list[tuple[int, Asked]] = [
        (number, each) for number, e in enumerate(examples) if (each := last_answer(e)) is not None
    ]
    found: dict[int, list[tuple[int, bool]]] = {}
    for length in lengths:
        long = [(number, each) for number, each in asked if len(each.answer) >= prefix + length]
        pairs = [
            (
                [*each.prompt.tolist(), *each.answer[:prefix].tolist()],
                each.answer[prefix : prefix + length].tolist(),
            )
            for _, each in long
        ]
        scores = likelihoods(pairs) if pairs else []
        found[length] = [(number, s.is_greedy) for (number, _), s in zip(long, scores, strict=True)]
    return found
