"""A limit on what judging may cost, which is kept before a request is sent."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from im_jax.errors import ConfigError
from im_jax.evaluation.judged.ledger import Ledger, Spent

_MILLION: Final = 1e6
_TOKENS_AROUND: Final = 16
"""What a chat format adds to a message, and more."""


@dataclass(frozen=True)
class Prices:
    """In any currency, for a million tokens: `prompt` read, `completion` written."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for name, value in (("price_prompt", self.prompt), ("price_completion", self.completion)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"--{name}={value} is no price; set 0 or more")

    def cost(self, spent: Spent) -> float:
        """Of some tokens."""
        return (spent.prompt * self.prompt + spent.completion * self.completion) / _MILLION


def most_tokens(body: Mapping[str, Any]) -> Spent:
    """An upper bound on what a request can cost: no token is shorter than a byte.

    Raises:
        ConfigError: the answer has no bound.
    """
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    if type(limit) is not int or limit < 1:
        raise ConfigError("a request to a judge has no max_tokens, so its cost has no bound; set it")
    prompt = sum(len(str(m["content"]).encode()) + _TOKENS_AROUND for m in body["messages"])
    return Spent(prompt + _TOKENS_AROUND, limit * int(body.get("n", 1)))


def check_limit(prices: Prices | None, limit: float | None) -> None:
    """Stop at a limit without prices.

    Raises:
        ConfigError: that.
    """
    if limit is not None and prices is None:
        raise ConfigError(
            f"--max_cost={limit:g} needs the judge's prices for a million tokens; set --price_prompt and "
            "--price_completion"
        )


class Budget:
    """What may still be spent; for several threads.

    The limit holds for all that the ledger knows of, of earlier runs too, and counts at its most what was
    without an answer but may have been billed.
    """

    def __init__(self, ledger: Ledger, prices: Prices | None, limit: float | None) -> None:
        """Args: prices and limit: None: nothing is limited. Raises: ConfigError: a limit without prices."""
        check_limit(prices, limit)
        self._ledger, self._prices, self._limit = ledger, prices, limit
        self._open = 0.0
        self._in_flight = 0
        self._changed = threading.Condition()

    @property
    def spent(self) -> float:
        """By all that the ledger knows of, at most; 0 without prices."""
        whole = self._ledger.billed + self._ledger.unanswered
        return self._prices.cost(whole) if self._prices else 0.0

    def reserve(self, most: Spent) -> bool:
        """Set aside what a request can cost; False: not even after all that are under way."""
        if self._limit is None or self._prices is None:
            return True
        cost = self._prices.cost(most)
        with self._changed:
            while self.spent + self._open + cost > self._limit:
                if not self._in_flight:
                    return False
                self._changed.wait()
            self._open += cost
            self._in_flight += 1
        return True

    def settle(self, most: Spent) -> None:
        """A reserved request has ended, and the ledger knows of it."""
        if self._limit is None or self._prices is None:
            return
        with self._changed:
            self._open -= self._prices.cost(most)
            self._in_flight -= 1
            self._open = self._open if self._in_flight else 0.0  # sums of fractions leave a rest
            self._changed.notify_all()
