"""The other processes while a run goes on: their signs of life, how they end, and what all agree on.

The first process is connected with each of the others, and passes on what it learns. A process that ends by
an error says so, and leaves at once, with its own exit code: left to itself, JAX would wait for the others
for minutes and then lose the code. Those that are told end too, since the next exchange would wait forever.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from im_jax.cluster.facts import Facts, as_sent, differences
from im_jax.cluster.lines import Lines, Message, Nonsense
from im_jax.cluster.roll_call import Roll
from im_jax.errors import ConfigError
from im_jax.interruption import PREEMPTED, leave
from im_jax.text import in_one_line

LOST: Final = 43
"""Exit code of a process that could not go on because another one ended."""
_GOOD: Final = (0, PREEMPTED)
"""Exit codes of a run that all processes end with together."""
_MISTAKE: Final = 2
_BEATS: Final = 5
"""Signs of life in the time after which a process counts as lost."""
_OWN_END_SECONDS: Final = 3.0
"""That a process may need to find by itself what another one has ended of."""
_WORDS_SECONDS: Final = 1.0
_AT_ONCE_SECONDS: Final = 0.05
"""For last words: JAX aborts a process soon after it has lost the first one, and with another exit code."""
_OTHERS_SECONDS: Final = 6.0
"""That the first process waits for the others to leave: JAX aborts them when it goes."""


class Peers:
    """Connections to the other processes, heard and answered by threads of their own."""

    def __init__(
        self, roll: Roll, own: int, silence: float, leave: Callable[[str, int], object] = leave
    ) -> None:
        """Connections of a roll, heard from now on.

        Args:
            roll: all processes.
            own: the number of this one.
            silence: seconds without a sign of life after which one is lost.
            leave: ends this process, with a line and an exit code.
        """
        self._leave, self._hosts, self._own, self._silence = leave, roll.hosts, own, silence
        self._connections = roll.connections
        self._ended: set[int] = set()
        self._ends_by_itself = False
        self._closed: set[int] = set()
        self._said: dict[str, dict[int, Facts]] = {}
        self._agreed: dict[str, list[str]] = {}
        self._news = threading.Condition()
        self._leaving = threading.Lock()
        self.last_words: Callable[[int, str], None] = lambda code, why: None
        """Is told the exit code and the reason before this process is ended by others."""
        for number, lines in self._connections.items():
            threading.Thread(target=self._listen, args=(number, lines), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def own(self) -> str:
        """This process, for a reader."""
        return str(self._hosts[self._own])

    def require_same(self, topic: str, facts: Facts) -> None:
        """Stop on all processes unless all have the same facts. Call it on all.

        Raises:
            ConfigError: they differ; each difference is a detail.
        """
        mine = as_sent(facts)
        with self._news:
            self._said.setdefault(topic, {})[self._own] = mine
        if self._own:
            self._send(0, {"facts": mine, "topic": topic})
            with self._news:
                self._news.wait_for(lambda: topic in self._agreed)
                found = self._agreed[topic]
        else:
            with self._news:
                self._news.wait_for(lambda: len(self._said[topic]) == len(self._hosts))
                said = self._said[topic]
            numbers = sorted(said)
            found = differences([str(self._hosts[n]) for n in numbers], [said[n] for n in numbers])
            self._tell_all({"agreed": topic, "differences": found})
        if found:
            raise ConfigError(f"the hosts differ in {topic}; give all of them the same:", *found)

    def goodbye(self, code: int, reason: str, *, waits: bool = False) -> None:
        """Say how this process ends. After an error it must leave at once, without JAX's own end.

        Args:
            code: with which it exits.
            reason: in a line.
            waits: whether all leave at once, so that the first process has to be the last.
        """
        with self._news:
            self._ended.add(self._own)
            self._ends_by_itself = code not in _GOOD
        self._tell_all({"bye": code, "reason": in_one_line(reason), "host": self._own})
        if not self._own and (waits or code not in _GOOD):
            self._wait_for_others()

    def _listen(self, number: int, lines: Lines) -> None:
        try:
            while True:
                message = lines.receive(self._silence)
                if message is None:
                    break
                self._take(number, message)
        except TimeoutError:
            self._lose(number, f"gave no sign of life for {self._silence:g} s")
        except Nonsense as error:
            self._lose(number, f"sent what is not understood: {error}")
        with self._news:
            self._closed.add(number)
            self._news.notify_all()
            ended = number in self._ended
        if not ended:
            self._lose(number, "was killed, or its machine is gone")

    def _take(self, number: int, message: Message) -> None:
        if "bye" in message:
            self._take_goodbye(message)
        elif "lost" in message:
            self._leave_for(message["lost"], message["why"], LOST)
        elif "topic" in message:
            with self._news:
                self._said.setdefault(message["topic"], {})[number] = message["facts"]
                self._news.notify_all()
        elif "agreed" in message:
            with self._news:
                self._agreed[message["agreed"]] = message["differences"]
                self._news.notify_all()

    def _take_goodbye(self, message: Message) -> None:
        host, code = message["host"], message["bye"]
        with self._news:
            self._ended.add(host)
        if code in _GOOD:
            return
        if not self._own:
            self._tell_all(message, but=host)
        time.sleep(_OWN_END_SECONDS)  # this process may be about to end of the same by itself
        reason = f": {message['reason']}" if message["reason"] else ""
        self._leave_for(host, f"ended with exit code {code}{reason}", _MISTAKE if code == _MISTAKE else LOST)

    def _lose(self, number: int, why: str) -> None:
        if not self._own:
            self._tell_all({"lost": number, "why": why}, but=number)
        self._leave_for(number, why, LOST)

    def _leave_for(self, number: int, why: str, code: int) -> None:
        """End this process because another one did, unless it is ending by an error of its own."""
        with self._leaving:
            if self._ends_by_itself:
                return
            told = f"{self._hosts[number]} {why}; {self.own} ends with {code}"
            words = threading.Thread(target=self.last_words, args=(code, told), daemon=True)
            words.start()
            words.join(_AT_ONCE_SECONDS if number == 0 else _WORDS_SECONDS)
            if not self._own:
                self._wait_for_others(but=number)
            self._leave(told, code)

    def _wait_for_others(self, but: int = 0) -> None:
        with self._news:
            waited = set(self._connections) - {but}
            self._news.wait_for(lambda: waited <= self._closed, _OTHERS_SECONDS)

    def _beat(self) -> None:
        while True:
            time.sleep(self._silence / _BEATS)
            self._tell_all({"alive": True})

    def _tell_all(self, message: Message, but: int | None = None) -> None:
        for number in self._connections:
            if number != but:
                self._send(number, message)

    def _send(self, number: int, message: Message) -> None:
        with contextlib.suppress(OSError):  # who is gone is noticed where it is listened to
            self._connections[number].send(message)


_here: list[Peers] = []
"""Those of this process, of which there is one cluster at most, as `jax.distributed` has it."""


def current() -> Peers | None:
    """The other processes of this one's cluster; None where it is alone."""
    return _here[0] if _here else None


def become(peers: Peers) -> None:
    """Make these the ones that `current` gives."""
    _here[:] = [peers]


def end_with(code: int, reason: str) -> Any:
    """Tell the others how this process ends; after an error, leave. Does nothing where it is alone."""
    peers = current()
    if peers is not None:
        peers.goodbye(code, reason)
        if code not in _GOOD:
            leave("", code)
