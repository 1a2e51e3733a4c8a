"""The prefix that rows are read behind: its keys and values, for one after the other."""

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.evaluation.likelihood import programs
from im_jax.evaluation.likelihood.cuts import CHUNK, room_for
from im_jax.mesh import batch_sharding
from im_jax.models.decoder import decoder_graph
from im_jax.models.loaded import Model


class Prefix:
    """Keeps what the next prefix shares with the last, and computes the rest."""

    def __init__(self, model: Model, longest: int) -> None:
        """Args: the model, and tokens of the longest prefix."""
        self._model, self._graph = model, decoder_graph(model.config, model.rules)
        self._tokens = np.zeros(0, np.int32)
        with jax.set_mesh(model.mesh):
            self.cache = programs.empty_prefix(self._graph, model.params, room_for(longest), model.rules)
        self.length = 0
        """Tokens of the prefix."""

    def set(self, tokens: jt.Int32[np.ndarray, " P"]) -> None:
        """The prefix is these tokens. Call it under `jax.set_mesh`."""
        size = min(len(tokens), len(self._tokens))
        other = np.flatnonzero(tokens[:size] != self._tokens[:size])
        self.length = int(other[0]) if len(other) else size
        while self.length < len(tokens):
            self._extend(tokens)
        if len(other) or len(tokens) > len(self._tokens):
            self._tokens = tokens

    def _extend(self, tokens: jt.Int32[np.ndarray, " P"]) -> None:
        """Some more of the tokens. A chunk that would pass the end of the room begins earlier."""
        model, room = self._model, self.cache.key.shape[2]
        start = min(self.length, room - CHUNK)
        end = min(start + CHUNK, len(tokens))
        some = np.zeros((model.batch_size(1), CHUNK), np.int32)
        some[:, : end - start] = tokens[start:end]
        # Behind the end any will do; a table of learned positions has no others.
        positions = np.minimum(start + np.arange(CHUNK, dtype=np.int32), len(tokens) - 1)
        arrays = some, np.tile(positions, (len(some), 1))
        sharding = batch_sharding(model.mesh)
        placed = (jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for x in arrays)
        self.cache = programs.extend(
            self._graph, model.params, *placed, jnp.int32(start), self.cache, model.rules
        )
        self.length = end
