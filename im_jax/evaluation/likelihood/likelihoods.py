"""Log-likelihoods of continuations, and whether greedy decoding would give them."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.devices import platform
from im_jax.errors import ConfigError
from im_jax.evaluation.likelihood import programs
from im_jax.evaluation.likelihood.cuts import Costs, Group, groups, room_for
from im_jax.evaluation.likelihood.prefix import Prefix
from im_jax.evaluation.likelihood.rolling import windows
from im_jax.evaluation.likelihood.rows import Batch, Reading, batches, lengths, packed
from im_jax.evaluation.likelihood.texts import Pair, Texts, texts_of
from im_jax.evaluation.likelihood.trees import lay
from im_jax.mesh import batch_sharding
from im_jax.models import decoder
from im_jax.models.loaded import Model
from im_jax.models.quantised.maps import wide
from im_jax.models.sharding import everywhere
from im_jax.models.sizes import head_dim

_BATCH_TOKENS: Final = {"cpu": 2048}
_ACCELERATOR_BATCH_TOKENS: Final = 32768
_ROW: Final = 256
"""Tokens of the rows that most pieces lie in, at most."""
_AHEAD: Final = 2
"""Batches that devices have been given and have not answered."""


class Score(NamedTuple):
    """Of a continuation after its context."""

    logprob: float
    """Sum over its tokens, in nats."""
    is_greedy: bool
    """Whether each of its tokens is the most likely; of equals, the one with the smallest id."""


class Likelihoods:
    """Scores pairs of a context and a continuation, computing once what they share.

    In float32 scores do not depend on what else is asked, in which order, or on how much is computed at a
    time, but for rounding (1e-6 or so a token). Shared are: a beginning that many texts have, as few-shot
    examples do; a question, by its choices; all of a text, by continuations that differ in their last token.

    Rotary factors that depend on the length of a text (longrope) are those that the model was opened with,
    `model.rope_scaling.use_long`, for all texts.
    """

    def __init__(self, model: Model, *, batch_tokens: int | None = None) -> None:
        """Args: the model, and tokens that devices are given at a time (None: as suits them).

        Raises:
            ConfigError: there are fewer than one.
        """
        if batch_tokens is not None and batch_tokens < 1:
            raise ConfigError(f"batch_tokens is {batch_tokens}; set it to 1 or more, or None")
        self._model = model
        self._graph = decoder.decoder_graph(model.config, model.rules)
        self._batch_tokens = batch_tokens or _BATCH_TOKENS.get(platform(), _ACCELERATOR_BATCH_TOKENS)
        self._costs = Costs(row=_ROW, group=self._batch_tokens // 2, keys=_keys_like_weights(model))

    def __call__(self, pairs: Sequence[Pair]) -> list[Score]:
        """The score of each pair, in order. Call it on all processes, with the same pairs.

        Raises:
            DataError: a pair has no context, no continuation, a token that the model does not know, or more
                tokens than it has positions: contexts are cut by who asks.
        """
        config = self._model.config
        assert isinstance(config.vocab_size, int)
        texts = texts_of(pairs, max_positions=config.max_positions, vocab_size=config.vocab_size)
        first_answer = np.cumsum([0, *map(len, texts.asked)])
        logprobs, greedy = np.zeros(first_answer[-1]), np.ones(first_answer[-1], bool)
        with jax.set_mesh(self._model.mesh):
            for read, reading in self._read(texts, first_answer[:-1]):
                found = everywhere(read.logprobs)[reading.rows, reading.entries, reading.slots]
                np.add.at(logprobs, reading.answers, found.astype(np.float64))
                likely = everywhere(read.most_likely)[reading.rows, reading.entries] == reading.labels
                np.logical_and.at(greedy, reading.answers, likely)
        numbers = [first_answer[text] + place for text, place in texts.answers]
        return [Score(float(logprobs[number]), bool(greedy[number])) for number in numbers]

    def rolling(self, texts: Sequence[Sequence[int]], prefix_token: int) -> list[float]:
        """The log-likelihood of each whole text, behind a token such as the BOS, in windows.

        Each token is predicted once: a window is as long as the model's positions, the next begins at its
        last token, and the last of all goes back as far as it can. As `loglikelihood_rolling` of
        lm-evaluation-harness's models.
        """
        pairs, owners = [], []
        for number, text in enumerate(texts):
            for pair in windows(text, prefix_token, self._model.config.max_positions):
                pairs.append(pair)
                owners.append(number)
        sums = np.zeros(len(texts))
        np.add.at(sums, np.array(owners, np.int64), [score.logprob for score in self(pairs)])
        return sums.tolist()

    def _read(
        self, texts: Texts, first_answer: jt.Int64[np.ndarray, " N"]
    ) -> Iterator[tuple[programs.Read, Reading]]:
        """What devices found, batch by batch, while they work on the next."""
        waiting: deque[tuple[programs.Read, Reading]] = deque()
        some = groups(texts, self._costs)
        prefix = Prefix(self._model, max((group.depth for group in some), default=0))
        for group in some:
            prefix.set(texts.tokens[group.text][: group.depth])
            for batch, reading in self._batches(texts, group, first_answer):
                waiting.append((self._start(batch, prefix), reading))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft()
        yield from waiting

    def _batches(
        self, texts: Texts, group: Group, first_answer: jt.Int64[np.ndarray, " N"]
    ) -> Iterator[tuple[Batch, Reading]]:
        for length, pieces in lengths(group.pieces, _ROW).items():
            rows = packed(pieces, length)
            fits = self._model.batch_size(max(1, self._batch_tokens // length))
            # A power of two if there are fewer.
            size = min(fits, self._model.batch_size(1 << (len(rows) - 1).bit_length()))
            for start in range(0, len(rows), size):
                trees = [
                    [lay(texts, pieces[number], group.depth, first_answer) for number in row]
                    for row in rows[start : start + size]
                ]
                yield from batches(trees, size, length)

    def _start(self, batch: Batch, prefix: Prefix) -> programs.Read:
        model, sharding = self._model, batch_sharding(self._model.mesh)
        placed = Batch(*(jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for x in batch))
        length = jnp.int32(prefix.length)
        slots, softcap = room_for(prefix.length), model.config.logit_cap
        return programs.read(
            self._graph, model.params, placed, length, prefix.cache, slots, softcap, model.rules
        )


def _keys_like_weights(model: Model) -> float:
    """See `Costs.keys`: a key costs two products of a head's size for each head."""
    config = wide(model.config)
    weights = sum(x.size for x in jax.tree.leaves(decoder.abstract_params(config)["layers"]))
    return weights / config.num_layers / (2 * config.num_heads * head_dim(config))
