"""Calling the roll: all processes come to the first one before any of them starts JAX.

Who is missing is named on every process that came, and so is whatever one of them has otherwise than the
first. What comes to the port and is no process of the run is sent away.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from im_jax.cluster.facts import Facts, differences
from im_jax.cluster.lines import Lines, Message, Nonsense
from im_jax.cluster.place import ROLL_CALL_PORT, Place
from im_jax.errors import ClusterError, ConfigError

_PROTOCOL: Final = 1
_INTRODUCTION_SECONDS: Final = 10.0
"""That who connects has to say who it is."""
_AGAIN_SECONDS: Final = 0.2
"""Between two attempts to reach the first process."""
_LATE_SECONDS: Final = 30.0
"""That an answer of the first process may come after this one's own time: it may have started later."""


class Host(NamedTuple):
    """A process of the run."""

    number: int
    name: str
    """Of its machine."""
    pid: int

    def __str__(self) -> str:
        return f"host {self.number} ({self.name})"


class Roll(NamedTuple):
    """All processes, and the connections of this one: to all others for the first, to that for the others."""

    hosts: list[Host]
    connections: dict[int, Lines]


def call_roll(place: Place, facts: Facts, timeout: float) -> Roll:
    """Wait until all processes are there, and agree.

    Args:
        place: of this process.
        facts: what all must have in common, as `as_sent` gives them.
        timeout: seconds.

    Raises:
        ClusterError: some did not come in time.
        ConfigError: they differ, or two have one number.
    """
    own = Host(place.number, socket.gethostname(), os.getpid())
    if place.number:
        return _answer(place, own, facts, timeout)
    return _Caller(place, own, facts).wait(timeout)


class _Caller:
    """The first process, while it waits."""

    def __init__(self, place: Place, own: Host, facts: Facts) -> None:
        self._place, self._facts = place, facts
        self._came: dict[int, tuple[Host, Lines | None, Facts]] = {0: (own, None, facts)}
        self._problem = ""
        self._news = threading.Condition()
        try:
            self._listener = socket.create_server(("", place.port), backlog=place.processes)
        except OSError as error:
            raise ClusterError(
                f"{own} cannot call the roll on port {place.port}: {error.strerror}; set {ROLL_CALL_PORT} to "
                "a port that is free on it, the same on all hosts"
            ) from error

    def wait(self, timeout: float) -> Roll:
        threading.Thread(target=self._accept, daemon=True).start()
        with self._news:
            self._news.wait_for(lambda: self._problem or len(self._came) == self._place.processes, timeout)
            came, problem = [self._came[number] for number in sorted(self._came)], self._problem
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread that accepts would keep the port
        self._listener.close()
        hosts = [host for host, _, _ in came]
        if problem:
            raise self._refuse(came, problem, [])
        missing = sorted(set(range(self._place.processes)) - {host.number for host in hosts})
        if missing:
            self._tell(came, {"missing": missing})
            raise _missing(missing, self._place, timeout)
        if found := differences([str(host) for host in hosts], [facts for _, _, facts in came]):
            raise self._refuse(came, "the hosts are not set up alike; start the same on all of them:", found)
        self._tell(came, {"all": [list(host) for host in hosts]})
        return Roll(hosts, {host.number: lines for host, lines, _ in came if lines is not None})

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the roll is called
                return
            threading.Thread(target=self._introduce, args=(Lines(connection),), daemon=True).start()

    def _introduce(self, lines: Lines) -> None:
        try:
            message = lines.receive(_INTRODUCTION_SECONDS) or {}
            if message["im_jax"] != _PROTOCOL:
                raise Nonsense("another version")
            host = Host(int(message["number"]), str(message["name"]), int(message["pid"]))
            count, facts = int(message["count"]), dict(message["facts"])
        except (TimeoutError, Nonsense, LookupError, TypeError, ValueError):
            lines.close()  # no process of ours
            return
        with self._news:
            known = self._came.get(host.number)
            if count != self._place.processes or not 0 < host.number < count:
                self._problem = (
                    f"{host} says that there are {count} processes, and host 0 that there are "
                    f"{self._place.processes}; set JAX_NUM_PROCESSES and JAX_PROCESS_ID right"
                )
            elif known and known[1] and not known[1].ended:
                self._problem = (
                    f"two processes say that they are host {host.number}: {known[0].name}, process "
                    f"{known[0].pid}, and {host.name}, process {host.pid}; set JAX_PROCESS_ID apart"
                )
            if self._problem:
                with contextlib.suppress(OSError):
                    lines.send({"refused": self._problem, "details": []})
            else:
                self._came[host.number] = host, lines, facts
            self._news.notify_all()

    def _refuse(self, came: list[Any], message: str, details: list[str]) -> ConfigError:
        self._tell(came, {"refused": message, "details": details})
        return ConfigError(message, *details)

    @staticmethod
    def _tell(came: list[Any], message: Message) -> None:
        for _, lines, _ in came:
            if lines is not None:
                with contextlib.suppress(OSError):  # who is gone since is noticed by its connection
                    lines.send(message)


def _answer(place: Place, own: Host, facts: Facts, timeout: float) -> Roll:
    """What a process does that is not the first."""
    deadline = time.monotonic() + timeout
    introduction = {"im_jax": _PROTOCOL, "count": place.processes, "facts": facts, **own._asdict()}
    while True:
        lines = _reach(place, own, deadline, timeout)
        try:
            lines.send(introduction)
            answer = lines.receive(max(1.0, deadline - time.monotonic()) + _LATE_SECONDS)
        except (OSError, Nonsense, TimeoutError):
            answer = None
        if answer is not None:
            return _understood(answer, place, lines, timeout)
        lines.close()  # somebody else's port, or the first process died and may come again
        if time.monotonic() > deadline:
            raise ClusterError(f"{own} had no answer from host 0 at {place.host}:{place.port}; see its log")
        time.sleep(_AGAIN_SECONDS)


def _understood(answer: Mapping[str, Any], place: Place, lines: Lines, timeout: float) -> Roll:
    if "refused" in answer:
        raise ConfigError(answer["refused"], *answer["details"])
    if "missing" in answer:
        raise _missing(answer["missing"], place, timeout)
    return Roll([Host(*each) for each in answer["all"]], {0: lines})


def _reach(place: Place, own: Host, deadline: float, timeout: float) -> Lines:
    while True:
        try:
            return Lines(socket.create_connection((place.host, place.port), timeout=5.0))
        except OSError as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{own} could not reach host 0 at {place.host}:{place.port} within {timeout:g} s "
                    f"({error.strerror or error}): see whether that one runs, and whether the port is open "
                    f"between the hosts; {ROLL_CALL_PORT} sets another"
                ) from error
            time.sleep(_AGAIN_SECONDS)


def _missing(numbers: list[int], place: Place, timeout: float) -> ClusterError:
    named = ", ".join(map(str, numbers))
    hosts = f"host {named}" if len(numbers) == 1 else f"hosts {named}"
    return ClusterError(
        f"{hosts} of {place.processes} processes did not come to {place.host}:{place.port} within "
        f"{timeout:g} s; see their logs, and whether they reach that address, or raise mesh.join_timeout"
    )
