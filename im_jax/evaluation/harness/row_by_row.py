"""Log-likelihoods of continuations in the plain way: each pair in a row of its own, nothing shared."""

import functools
from collections.abc import Sequence
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from im_jax.evaluation.harness.lm import Pair
from im_jax.mesh import batch_sharding
from im_jax.models.decoder import Decoder, Params, decoder_graph
from im_jax.models.loaded import Model
from im_jax.models.sharding import everywhere

_SHORTEST: Final = 64
"""Tokens of the shortest rows; others are twice as long, and so on, so that few programs are compiled."""
_BATCH_TOKENS: Final = 4096


class Score(NamedTuple):
    """Of a continuation after its context."""

    logprob: float
    """Sum over its tokens, in nats."""
    is_greedy: bool
    """Whether each of its tokens is the most likely."""


class RowByRow:
    """Scores pairs of a context and a continuation."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._graph = decoder_graph(model.config, model.rules)

    def __call__(self, pairs: Sequence[Pair]) -> list[Score]:
        """The score of each pair, in order. Call it on all processes, with the same pairs."""
        found: list[Score] = [Score(0.0, True)] * len(pairs)
        by_length: dict[int, list[int]] = {}
        for number, (context, continuation) in enumerate(pairs):
            size = len(context) + len(continuation) - 1
            by_length.setdefault(max(_SHORTEST, 1 << (size - 1).bit_length()), []).append(number)
        for length, numbers in sorted(by_length.items()):
            rows = self._model.batch_size(max(1, _BATCH_TOKENS // length))
            for start in range(0, len(numbers), rows):
                some = numbers[start : start + rows]
                for number, score in zip(
                    some, self._score([pairs[n] for n in some], rows, length), strict=False
                ):
                    found[number] = score
        return found

    def _score(self, pairs: Sequence[Pair], rows: int, length: int) -> list[Score]:
        tokens, labels = np.zeros((2, rows, length), np.int32)
        asked = np.zeros((rows, length), bool)
        for row, (context, continuation) in enumerate(pairs):
            whole = np.asarray([*context, *continuation], np.int32)
            size = len(whole) - 1
            tokens[row, :size], labels[row, :size] = whole[:-1], whole[1:]
            asked[row, len(context) - 1 : size] = True
        sharding = batch_sharding(self._model.mesh)
        with jax.set_mesh(self._model.mesh):
            placed = (
                jax.make_array_from_callback(x.shape, sharding, x.__getitem__)
                for x in (tokens, labels, asked)
            )
            sums, greedy = map(everywhere, _read(self._graph, self._model.params, *placed))
        return [Score(float(a), bool(b)) for a, b in zip(sums, greedy, strict=True)]


@functools.partial(jax.jit, static_argnums=0)
def _read(
    graph: nnx.GraphDef[Decoder], params: Params, tokens: jax.Array, labels: jax.Array, asked: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Of each row, the log-probability of the labels that are asked, and whether all are the greedy ones."""
    decoder = nnx.merge(graph, params)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    logits = decoder.logits(decoder(tokens, jnp.ones_like(tokens), positions))
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    logprobs = chosen - jax.nn.logsumexp(logits, axis=-1)
    likely = jnp.argmax(logits, axis=-1) == labels
    return jnp.sum(jnp.where(asked, logprobs, 0.0), axis=1), jnp.all(likely | ~asked, axis=1)
