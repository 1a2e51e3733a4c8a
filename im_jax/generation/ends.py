"""Where an answer ends: by the model's own ends, by what a request names, or by its length."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from im_jax.data.tokenizers.added import read_object
from im_jax.generation.requests import Request
from im_jax.models.loaded import Model
from im_jax.stores import readable

_GENERATION: Final = "generation_config.json"
_AT_ONCE: Final = 16
"""Tokens that are decoded together to look for a text."""


class Ends(NamedTuple):
    """A model's own ends: the stops of its template, of its tokenizer, and of the folder it was read from."""

    tokens: list[int]
    """Single tokens."""
    sequences: list[list[int]]
    """Several tokens in a row."""


def ends_of(model: Model) -> Ends:
    """All ends of a model.

    Raises:
        DataError: its generation_config.json cannot be read.
    """
    told = read_object(readable(model.config.path) / _GENERATION) if model.config.path else {}
    more = told.get("eos_token_id")
    eos = [model.tokenizer.eos_id, *(more if isinstance(more, list) else [more])]
    single = [stop[0] for stop in model.stops if len(stop) == 1]
    tokens = [token for token in [*single, *eos] if isinstance(token, int)]
    return Ends(list(dict.fromkeys(tokens)), [stop for stop in model.stops if len(stop) > 1])


class Verdict(NamedTuple):
    """How an answer ended."""

    tokens: int
    """Of the answer, those that ended it included."""
    text: str
    finish_reason: str
    stop_reason: int | str | None


class Ending:
    """Looks for the end of one answer as its tokens come."""

    def __init__(
        self, request: Request, ends: Ends, limit: int, decode: Callable[[Sequence[int]], str]
    ) -> None:
        """`limit`: tokens of the answer, at most; `decode`: text of its tokens."""
        self._params, self._limit, self._decode = request.params, limit, decode
        self._own = Ends([], []) if self._params.ignore_eos else ends
        self.single = list(dict.fromkeys([*self._own.tokens, *self._params.stop_token_ids]))
        """Tokens at which the devices end it."""

    def find(self, tokens: Sequence[int], known: int) -> Verdict | None:
        """How the answer ended, if it did.

        Texts are looked for whenever the answer has got as many tokens as a multiple of `_AT_ONCE`, and when
        it ends: what is found depends on the answer alone, not on how many tokens come together.

        Args:
            tokens: of the answer so far.
            known: how many of them were looked at before.
        """
        for count in range(known + 1, len(tokens) + 1):
            verdict = self._by_tokens(tokens[:count])
            if verdict is None and count >= self._limit:
                verdict = Verdict(count, self._decode(tokens[:count]), "length", None)
            if self._params.stop and (verdict is not None or count % _AT_ONCE == 0):
                begun = (count - 1) // _AT_ONCE * _AT_ONCE
                verdict = self._by_text(tokens[:count], begun, verdict)
            if verdict is not None:
                return verdict
        return None

    def _by_tokens(self, tokens: Sequence[int]) -> Verdict | None:
        if len(tokens) <= self._params.min_tokens:
            return None
        last = tokens[-1]
        if last in self._params.stop_token_ids and last not in self._own.tokens:
            return self._stopped(tokens, 1, last)
        if last in self._own.tokens:
            return self._stopped(tokens, 1, None)
        for stop in self._own.sequences:
            if list(tokens[-len(stop) :]) == stop:
                return self._stopped(tokens, len(stop), None)
        return None

    def _stopped(self, tokens: Sequence[int], cut: int, reason: int | None) -> Verdict:
        kept = tokens if self._params.include_stop_str_in_output else tokens[:-cut]
        return Verdict(len(tokens), self._decode(kept), "stop", reason)

    def _by_text(self, tokens: Sequence[int], begun: int, otherwise: Verdict | None) -> Verdict | None:
        """How the answer ended by a text, with one of the tokens from `begun` on."""
        whole = self._decode(tokens)
        if not any(stop in whole for stop in self._params.stop):
            return otherwise
        last = len(tokens) if otherwise is None else len(tokens) - (otherwise.finish_reason == "stop")
        least = self._params.min_tokens
        passed = len(self._decode(tokens[:least])) if least else 0
        for count in range(max(begun, least) + 1, last + 1):
            text = self._decode(tokens[:count])
            places = [(text.find(stop, max(passed - len(stop) + 1, 0)), stop) for stop in self._params.stop]
            found = [place for place in places if place[0] >= 0]
            if found:
                at, stop = min(found)
                end = at + len(stop) if self._params.include_stop_str_in_output else at
                return Verdict(count, text[:end], "stop", stop)
        return otherwise
