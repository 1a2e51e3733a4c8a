"""Likelihoods and greedy answers in the plainest way, one by one: what the harness's results are held to."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from im_jax.models import decoder
from im_jax.models.loaded import Model


def plain_answers(model: Model) -> dict[str, Any]:
    """For `im_jax.evaluation.harness.running.run`: all logits of each row, and `Model.answer`."""

    @jax.jit
    def logprobs(params: Any, tokens: jax.Array) -> jax.Array:
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        logits = decoder.logits(params, model.config, tokens, jnp.ones_like(tokens), positions)
        return jax.nn.log_softmax(logits)

    def score(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        found = []
        for context, continuation in pairs:
            row = [*context, *continuation][:-1]
            padded = np.zeros((1, -(-len(row) // 128) * 128), np.int32)
            padded[0, : len(row)] = row
            with jax.set_mesh(model.mesh):
                table = np.asarray(logprobs(model.params, jnp.asarray(padded)))[
                    0, len(context) - 1 : len(row)
                ]
            at = np.arange(len(continuation))
            greedy = bool((table.argmax(-1) == np.asarray(continuation)).all())
            found.append((float(table[at, continuation].sum(dtype=np.float64)), greedy))
        return found

    def generate(asked: Sequence[Any]) -> list[str]:
        assert not any(each.sampling for each in asked)
        found = ["" for _ in asked]
        for most in {each.max_tokens for each in asked}:
            some = [number for number, each in enumerate(asked) if each.max_tokens == most]
            prompts = [np.asarray(asked[number].tokens, np.int32) for number in some]
            for number, answer in zip(some, model.answer(prompts, max_new_tokens=most), strict=True):
                found[number] = answer.text
        return found

    return {"score": score, "generate": generate}
