"""Many requests to a judge: at once, again after errors, not above a rate or a cost, none paid for twice."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from im_jax.errors import ConfigError
from im_jax.evaluation.judged.budget import Budget, most_tokens
from im_jax.evaluation.judged.endpoint import Completion, Endpoint, EndpointError
from im_jax.evaluation.judged.ledger import Ledger, key

OVER_COST: Final = "over the cost limit"
NOT_ASKED: Final = "not asked"
_LONGEST_WAIT: Final = 60.0
_IN_A_ROW: Final = 10
"""Requests that fail one after the other, each after all its tries, before no more are sent."""


class Query(NamedTuple):
    """A request to a judge."""

    name: str
    """For people: which question, which turn."""
    body: Mapping[str, Any]
    """Of the request."""


@dataclass(frozen=True)
class Manner:
    """How a server is asked.

    Attributes:
        workers: requests at once.
        tries: of each request, at most.
        first_wait: seconds before the second try; each later one waits twice as long, or as the server says.
        per_minute: requests started in a minute, at most; 0: as many as there can be.
    """

    workers: int = 8
    tries: int = 5
    first_wait: float = 1.0
    per_minute: float = 0.0

    def __post_init__(self) -> None:
        for name, bad in (
            ("workers", self.workers < 1),
            ("tries", self.tries < 1),
            ("per_minute", self.per_minute < 0),
        ):
            if bad:
                raise ConfigError(f"--{name}={getattr(self, name)} is too small; set 1 or more")


@dataclass
class Answers:
    """What came of some requests.

    Attributes:
        completions: by name.
        failures: why there is none, by name.
        cached: how many were answered before.
        tries_failed: number of tries without an answer, by kind, also where a later one had one.
        without_usage: answers that do not say what they cost; they count as the most that they can.
    """

    completions: dict[str, Completion] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    cached: int = 0
    tries_failed: Counter[str] = field(default_factory=Counter)
    without_usage: int = 0


class _Stop:
    """What has failed, and whether no more requests are sent; for several threads."""

    def __init__(self) -> None:
        self.reason = ""
        self.event = threading.Event()
        self.tries_failed = Counter[str]()
        self._in_a_row = 0
        self._lock = threading.Lock()

    def set(self, reason: str) -> None:
        with self._lock:
            self.reason = self.reason or reason
            self.event.set()

    def count_try(self, kind: str) -> None:
        with self._lock:
            self.tries_failed[kind] += 1

    def count(self, failure: str) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if failure else 0
            stop = self._in_a_row >= _IN_A_ROW
        if stop:
            self.set(f"{_IN_A_ROW} requests failed one after the other, the last by {failure}")


class _Pace:
    """Starts requests no faster than so many a minute."""

    def __init__(self, per_minute: float) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> None:
        if self._gap:
            with self._lock:
                at = max(self._next, time.monotonic())
                self._next = at + self._gap
            stop.wait(max(at - time.monotonic(), 0.0))


def ask_all(
    queries: Sequence[Query],
    endpoint: Endpoint,
    ledger: Ledger,
    budget: Budget,
    manner: Manner | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> Answers:
    """Ask a judge, but for what the ledger has.

    Args:
        queries: each name once. Requests that are equal to the letter are sent once.
        endpoint: where.
        ledger: open; every answer is written there as it comes.
        budget: of the same ledger.
        manner: how.
        done: told how many more queries have ended.

    Returns:
        An answer or a failure for every query.
    """
    manner = Manner() if manner is None else manner
    answers, waiting = Answers(), dict[str, list[Query]]()
    for query in queries:
        most_tokens(query.body)  # whether it can be sent at all
        waiting.setdefault(key(endpoint.url, query.body), []).append(query)
    for asked in [asked for asked in waiting if asked in ledger.answers]:
        for query in waiting.pop(asked):
            answers.completions[query.name] = ledger.answers[asked]
            answers.cached += 1
            done(1)
    stop, pace = _Stop(), _Pace(manner.per_minute)

    def work(asked: str) -> str:
        if stop.event.is_set():
            return f"{NOT_ASKED}: {stop.reason}"
        failure = _ask(waiting[asked][0], asked, endpoint, ledger, budget, manner, stop, pace)
        stop.count("" if failure == OVER_COST else failure)
        return failure

    with ThreadPoolExecutor(manner.workers) as pool:
        try:
            futures = {pool.submit(work, asked): asked for asked in waiting}
            for future in as_completed(futures):
                asked, failure = futures[future], future.result()
                for query in waiting[asked]:
                    if failure:
                        answers.failures[query.name] = failure
                    else:
                        answers.completions[query.name] = ledger.answers[asked]
                        answers.without_usage += ledger.answers[asked].tokens is None
                done(len(waiting[asked]))
        except BaseException:  # Ctrl-C too: what is under way is waited for, and kept
            stop.set("stopped")
            pool.shutdown(cancel_futures=True)
            raise
    answers.tries_failed = stop.tries_failed
    return answers


def _ask(
    query: Query,
    asked: str,
    endpoint: Endpoint,
    ledger: Ledger,
    budget: Budget,
    manner: Manner,
    stop: _Stop,
    pace: _Pace,
) -> str:
    """Send one request until it is answered; what stopped that, or nothing if it is."""
    most, wait = most_tokens(query.body), manner.first_wait
    for attempt in range(manner.tries):
        pace.wait(stop.event)
        if not budget.reserve(most):
            return OVER_COST
        try:
            ledger.answered(query.name, asked, endpoint.ask(query.body), most)
            return ""
        except EndpointError as error:
            stop.count_try(error.kind)
            if error.billed:
                ledger.not_answered(query.name, asked, error.kind, most)
            if error.hopeless:
                stop.set(str(error))
            if not error.again or attempt == manner.tries - 1 or stop.event.is_set():
                return str(error)
            pause = wait if error.wait is None else max(error.wait, 0.0)
        finally:
            budget.settle(most)
        if stop.event.wait(min(pause, _LONGEST_WAIT)):
            return f"{NOT_ASKED} again: {stop.reason}"
        wait *= 2
    raise AssertionError("every way out of the tries returns")
