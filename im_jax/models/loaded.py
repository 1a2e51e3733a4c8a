"""One model that can be asked: parameters, and everything that is needed to use them."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import jax
import jaxtyping as jt
import numpy as np
from jax.sharding import Mesh

from im_jax.config import ModelConfig
from im_jax.data.encoding import encode_prompt
from im_jax.data.records.conversation import Message
from im_jax.data.stops import stop_sequences
from im_jax.data.templates import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError
from im_jax.mesh import DATA_AXES, batch_sharding
from im_jax.models.decoder import Params
from im_jax.models.decoding import greedy, stream
from im_jax.models.sharding import ShardingRules, everywhere

_AT_A_TIME: Final = 512
"""Prompts that are answered together, unless asked otherwise."""


class Answer(NamedTuple):
    """What a model says after a prompt."""

    text: str
    tokens: list[int]
    """Without the stop."""
    ended: bool
    """Whether the model stopped by itself."""


@dataclass(frozen=True)
class Model:
    """A decoder with its tokenizer and template, on its devices.

    `im_jax.opening` opens one from a run, a Hugging Face folder or a llama2.c file; a run in training
    gives its own to what is measured of it.
    """

    params: Params
    config: ModelConfig
    """Of the decoder, with everything filled in."""
    tokenizer: Tokenizer
    template: Template | None
    """How conversations are written; None: the model only continues text."""
    mesh: Mesh
    rules: ShardingRules

    def with_params(self, params: Params) -> "Model":
        """The same with other parameters."""
        return dataclasses.replace(self, params=params)

    @functools.cached_property
    def stops(self) -> list[list[int]]:
        """The tokens, in a row, of each stop that ends an answer: see `stop_sequences`."""
        return [] if self.template is None else stop_sequences(self.template, self.tokenizer)

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> jt.Int32[np.ndarray, " T"]:
        """Tokens of a conversation after which the model answers.

        Args:
            messages: so far.
            tools: JSON text of each tool that it may call.

        Raises:
            ConfigError: there is no template to write it in.
            DataError: the template cannot write it.
        """
        if self.template is None:
            raise ConfigError("this model has no template to write conversations in; give it plain text")
        return encode_prompt(messages, self.template, self.tokenizer, tools)

    def text(self, text: str) -> jt.Int32[np.ndarray, " T"]:
        """Tokens of a plain text to go on with, behind a BOS where the tokenizer writes one.

        Raises:
            ConfigError: it has none.
        """
        tokens = self.tokenizer.encode(text).ids
        if self.tokenizer.adds_bos and self.tokenizer.bos_id is not None:
            return np.insert(tokens, 0, self.tokenizer.bos_id)
        if not len(tokens):
            raise ConfigError("a prompt is empty, and this tokenizer has no BOS to start from; set some text")
        return tokens

    def answer(
        self,
        prompts: Sequence[jt.Int32[np.ndarray, " _"]],
        *,
        max_new_tokens: int,
        at_a_time: int = _AT_A_TIME,
    ) -> list[Answer]:
        """The greedy answer to each prompt, in batches of equal shape: one compilation.

        Call it on all processes, with the same prompts.

        Args:
            prompts: tokens, of `prompt` or `text`.
            max_new_tokens: of each answer, at most, its stop included.
            at_a_time: prompts of a batch, at most; rounded up to what the devices share.

        Raises:
            ConfigError: the longest prompt leaves no room for so many tokens.
        """
        width = max(map(len, prompts), default=0)
        self._check_room(width, max_new_tokens)
        size = self.batch_size(min(len(prompts), at_a_time))
        answers = []
        for start in range(0, len(prompts), size):
            some = prompts[start : start + size]
            tokens = np.zeros((size, width), np.int32)
            lengths = np.ones(size, np.int32)
            for row, prompt in enumerate(some):
                tokens[row, : len(prompt)], lengths[row] = prompt, len(prompt)
            # Rows that are not asked for end when another does, so that none is waited for.
            tokens[len(some) :], lengths[len(some) :] = tokens[0], lengths[0]
            found, ends = self._decode(tokens, lengths, max_new_tokens)
            answers += [
                self.read(found[row, len(prompt) : ends[row]].tolist()) for row, prompt in enumerate(some)
            ]
        return answers

    def stream(self, prompt: jt.Int32[np.ndarray, " _"], *, max_new_tokens: int) -> Iterator[str]:
        """The greedy answer to a prompt in pieces, as it is decoded; together they are `answer`'s text.

        Characters of which tokens are missing, and what may become a stop, are held back. For one process.

        Raises:
            ConfigError: the prompt leaves no room for so many tokens.
        """
        self._check_room(len(prompt), max_new_tokens)
        tokens: list[int] = []
        shown = ""
        with jax.set_mesh(self.mesh):
            rows = self.batch_size(1)
            for token in stream(self.params, self.config, prompt, rows, max_new_tokens, self.rules):
                tokens.append(token)
                answer = self.read(tokens)
                if answer.ended:
                    break
                certain = self.tokenizer.decode(self._without_begun_stop(tokens)).rstrip("\ufffd")
                if certain.startswith(shown) and certain != shown:
                    yield certain[len(shown) :]
                    shown = certain
        yield answer.text.removeprefix(shown)

    def _without_begun_stop(self, tokens: list[int]) -> list[int]:
        """Tokens but for a tail that is the beginning of a stop."""
        longest = max((len(stop) for stop in self.stops), default=1) - 1
        for tail in range(min(longest, len(tokens)), 0, -1):
            if any(tokens[-tail:] == stop[:tail] for stop in self.stops):
                return tokens[:-tail]
        return tokens

    def _check_room(self, width: int, max_new_tokens: int) -> None:
        if width + max_new_tokens > self.config.max_positions:
            raise ConfigError(
                f"a prompt of {width} tokens and max_tokens={max_new_tokens} exceed "
                f"model.max_positions={self.config.max_positions}; shorten one of them"
            )

    def read(self, tokens: list[int]) -> Answer:
        """An answer out of decoded tokens: what stands before the stop, or all of it if there is none."""
        eos = self.tokenizer.eos_id
        for at in range(len(tokens)):
            if any(tokens[at : at + len(stop)] == stop for stop in self.stops):
                return Answer(self.tokenizer.decode(tokens[:at]), tokens[:at], ended=True)
        ended = eos is not None and tokens[-1:] == [eos]
        return Answer(self.tokenizer.decode(tokens), tokens[:-1] if ended else tokens, ended)

    def continuation(self, prompt: jt.Int32[np.ndarray, " _"], answer: Answer) -> str:
        """What an answer adds to a prompt of `text`, with the space in front that `Answer.text` lacks."""
        begun = self.tokenizer.decode(prompt)
        whole = self.tokenizer.decode([*prompt, *answer.tokens])
        return whole.removeprefix(begun) if whole.startswith(begun) else answer.text

    def _decode(
        self, tokens: np.ndarray, lengths: np.ndarray, max_new_tokens: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Prompts with their continuations, and how long each is, on every process."""
        eos = [] if self.tokenizer.eos_id is None else [self.tokenizer.eos_id]
        # A stop of several tokens cannot end decoding; the answer is cut at it afterwards.
        ends = list(dict.fromkeys(eos + [stop[0] for stop in self.stops if len(stop) == 1]))
        sharding = batch_sharding(self.mesh)
        with jax.set_mesh(self.mesh):
            rows, sizes = (
                jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for x in (tokens, lengths)
            )
            decoded = greedy(self.params, self.config, rows, sizes, max_new_tokens, ends, self.rules)
            return everywhere(decoded.tokens), everywhere(decoded.lengths)

    def batch_size(self, wanted: int) -> int:
        """A multiple of the devices that share the rows."""
        devices = int(np.prod([self.mesh.shape[axis] for axis in DATA_AXES]))
        return max(-(-wanted // devices), 1) * devices
