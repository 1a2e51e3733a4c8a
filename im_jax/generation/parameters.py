"""How an answer is drawn: vLLM's names and meanings, but for `temperature`, which is 0 (greedy) unless set.

Source of names, bounds and meanings: vLLM, `sampling_params.py`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from im_jax.errors import DataError

GREEDY_BELOW: Final = 1e-5
"""Temperatures below take the most likely token."""
_LOWEST: Final = 0.01
"""To which higher temperatures are raised: dividing by less overflows."""


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """Of one request.

    Raises:
        DataError: a value is not allowed, or two contradict each other; names field, value, and what can be.
    """

    max_tokens: int
    """Of each answer, at most, the token that ends it included; the model's positions bound it too."""
    n: int = 1
    """Answers to each prompt."""
    temperature: float = 0.0
    """What logits are divided by; below 1e-5 greedy, and top_p, top_k, min_p are not asked."""
    top_p: float = 1.0
    """Fewest tokens whose probabilities add up to this are kept."""
    top_k: int = 0
    """This many of the most likely tokens are kept; 0 or -1: all."""
    min_p: float = 0.0
    """Tokens at least this likely, relative to the most likely one, are kept."""
    presence_penalty: float = 0.0
    """Subtracted from logits of tokens that the answer has."""
    frequency_penalty: float = 0.0
    """Subtracted from them for each time that the answer has the token."""
    repetition_penalty: float = 1.0
    """Positive logits of tokens that prompt or answer have are divided by it, others multiplied."""
    seed: int = 0
    """With the id and the number of the answer it decides every draw."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer and are cut from it."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end an answer."""
    include_stop_str_in_output: bool = False
    """Whether what ended an answer stays in its text."""
    ignore_eos: bool = False
    """Whether answers go on behind the model's own ends."""
    min_tokens: int = 0
    """An answer does not end before it has so many."""
    logprobs: int | None = None
    """Of each token, log-probabilities of so many most likely tokens and of the chosen one; None: no list."""
    skip_special_tokens: bool = True
    """Whether special tokens are left out of the text."""

    def __post_init__(self) -> None:
        for name, (kind, allowed, is_allowed) in _ALLOWED.items():
            value = getattr(self, name)
            if not _is(value, kind) or not is_allowed(value):
                raise DataError(f"{name}={value!r} is not allowed; set {allowed}")
        if 0 < self.min_tokens > self.max_tokens:
            raise DataError(
                f"min_tokens={self.min_tokens} is more than max_tokens={self.max_tokens}; set at most as many"
            )
        if self.greedy and self.n > 1:
            raise DataError(
                f"n={self.n} with temperature={self.temperature:g} gives equal answers; set n=1, or a "
                "temperature above 0"
            )

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken."""
        return self.temperature < GREEDY_BELOW

    @property
    def divisor(self) -> float:
        """What logits are divided by."""
        return 1.0 if self.greedy else max(self.temperature, _LOWEST)

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], defaults: "SamplingParams | Mapping[str, Any] | None" = None
    ) -> "SamplingParams":
        """Parameters that a record names, the others as they are by default.

        Raises:
            DataError: it names one that is unknown, has a value that is not allowed, or lacks `max_tokens`.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in record:
            if name not in known:
                raise DataError(f"{name!r} is no parameter of sampling; known are {', '.join(known)}")
        given = dataclasses.asdict(defaults) if isinstance(defaults, SamplingParams) else dict(defaults or {})
        values = given | {name: _tidy(name, value) for name, value in record.items()}
        if "max_tokens" not in values:
            raise DataError(
                "max_tokens is not set; set how many tokens an answer has at most, as by --max_tokens=512"
            )
        return cls(**values)


def _tidy(name: str, value: Any) -> Any:
    """JSON's forms of a value: a list for a tuple, one text for a list of one."""
    if name == "stop" and isinstance(value, str):
        return (value,)
    if name in ("stop", "stop_token_ids"):
        return tuple(value) if isinstance(value, list) else () if value is None else value
    return value


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "flag":
            return isinstance(value, bool)
        case "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "texts":
            return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        case "tokens":
            return isinstance(value, tuple) and all(_is(item, "whole") for item in value)
        case _:
            return value is None or _is(value, "whole")


_ALLOWED: Final[dict[str, tuple[str, str, Callable[[Any], bool]]]] = {
    "max_tokens": ("whole", "a whole number of 1 or more", lambda x: x >= 1),
    "n": ("whole", "a whole number of 1 or more", lambda x: x >= 1),
    "temperature": ("number", "a number from 0 to 2", lambda x: 0 <= x <= 2),
    "top_p": ("number", "a number above 0 and at most 1", lambda x: 0 < x <= 1),
    "top_k": ("whole", "0 or -1 for all, or a whole number of 1 or more", lambda x: x >= -1),
    "min_p": ("number", "a number from 0 to 1", lambda x: 0 <= x <= 1),
    "presence_penalty": ("number", "a number from -2 to 2", lambda x: -2 <= x <= 2),
    "frequency_penalty": ("number", "a number from -2 to 2", lambda x: -2 <= x <= 2),
    "repetition_penalty": ("number", "a number above 0", lambda x: x > 0),
    "seed": ("whole", "a whole number from 0 to 4294967295", lambda x: 0 <= x < 2**32),
    "stop": ("texts", "one text or several, none of them empty", all),
    "stop_token_ids": ("tokens", "ids of tokens, 0 or more", lambda x: all(item >= 0 for item in x)),
    "include_stop_str_in_output": ("flag", "true or false", lambda x: True),
    "ignore_eos": ("flag", "true or false", lambda x: True),
    "min_tokens": ("whole", "a whole number of 0 or more", lambda x: x >= 0),
    "logprobs": ("count", "none, or a whole number from 0 to 20", lambda x: x is None or 0 <= x <= 20),
    "skip_special_tokens": ("flag", "true or false", lambda x: True),
}
