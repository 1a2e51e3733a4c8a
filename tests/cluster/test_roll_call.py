"""The roll-call and what follows, over real sockets, without JAX: each process is a thread."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from im_jax.cluster import peers
from im_jax.cluster.facts import differences, own_facts
from im_jax.cluster.peers import Peers
from im_jax.cluster.place import Place, place_from_environment
from im_jax.cluster.roll_call import Roll, call_roll
from im_jax.errors import ClusterError, ConfigError

SECONDS = 20.0


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    monkeypatch.setenv("IM_JAX_ROLL_CALL_PORT", str(number))
    return number


def place(number: int, count: int = 3) -> Place:
    return Place("127.0.0.1:1", count, number)


def together(*calls: Callable[[], Any]) -> list[Future[Any]]:
    """All at once; each ends by itself."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [threads.submit(call) for call in calls]


def call(number: int, count: int = 3, seconds: float = SECONDS, **facts: Any) -> Callable[[], Roll]:
    return lambda: call_roll(place(number, count), facts, seconds)


def test_all_come_in_any_order(port: int) -> None:
    def late() -> Roll:
        time.sleep(0.5)
        return call(0)()

    rolls = [each.result() for each in together(call(2), late, call(1))]
    for roll in rolls:
        assert [(host.number, host.pid) for host in roll.hosts] == [(n, os.getpid()) for n in range(3)]
    assert sorted(rolls[1].connections) == [1, 2] and list(rolls[0].connections) == [0]


def test_who_is_missing_is_named_on_all_that_came(port: int) -> None:
    found = together(call(0, 4, 1.0), call(2, 4, 1.0))
    for each in found:
        message = (
            rf"^hosts 1, 3 of 4 processes did not come to 127\.0\.0\.1:{port} within 1 s; see their logs"
        )
        with pytest.raises(ClusterError, match=message) as raised:
            each.result()
        assert raised.value.exit_code == 1


def test_a_first_process_that_never_comes_is_named(port: int) -> None:
    with pytest.raises(ClusterError, match=rf"could not reach host 0 at 127\.0\.0\.1:{port} within 0.5 s"):
        call(1, seconds=0.5)()


def test_what_differs_is_named_on_all(port: int) -> None:
    found = together(
        call(0, rate=1e-3, seed=0), call(1, rate=1e-3, seed=0), call(2, rate=1e-4, seed=0, more="x")
    )
    name = socket.gethostname()
    for each in found:
        with pytest.raises(ConfigError, match="the hosts are not set up alike") as raised:
            each.result()
        assert raised.value.details == (
            f"host 2 ({name}): more=x, on host 0 ({name}) (absent)",
            f"host 2 ({name}): rate=0.0001, on host 0 ({name}) 0.001",
        )


def test_two_with_one_number_and_other_counts_are_refused(port: int) -> None:
    found = together(call(0), call(1), call(1))
    assert [type(each.exception()) for each in found] == [ConfigError] * 3, [
        each.exception() for each in found
    ]
    assert "two processes say that they are host 1" in str(found[0].exception())
    found = together(call(0), call(1, count=5))
    for each in found:
        with pytest.raises(ConfigError, match="says that there are 5 processes, and host 0 that there are 3"):
            each.result()


def test_strangers_at_the_port_are_sent_away(port: int) -> None:
    def stranger() -> None:
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"{}\n", b'{"im_jax": 1}\n', b"[1]\n", b"\xff" * 99 + b"\n"):
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                try:
                    connection = socket.create_connection(("127.0.0.1", port))
                    break
                except OSError:
                    time.sleep(0.05)
            with connection:
                connection.sendall(words)

    def late(number: int) -> Callable[[], Roll]:
        def come() -> Roll:
            time.sleep(1)
            return call(number)()

        return come

    found = together(call(0), stranger, late(1), late(2))
    assert len(found[0].result().hosts) == 3


def test_one_that_died_before_all_were_there_may_come_again(port: int) -> None:
    def dies() -> None:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    told = {"im_jax": 1, "count": 3, "number": 1, "name": "x", "pid": 1, "facts": {}}
                    connection.sendall(json.dumps(told).encode() + b"\n")
                    time.sleep(0.3)
                return
            except OSError:
                time.sleep(0.05)

    def again() -> Roll:
        time.sleep(1)
        return call(1)()

    def last() -> Roll:
        time.sleep(1.5)
        return call(2)()

    rolls = together(call(0), dies, again, last)
    assert rolls[0].result().hosts[1].pid == os.getpid()


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with (
        socket.create_server(("", port)),
        pytest.raises(ClusterError, match=rf"cannot call the roll on port {port}: .*IM_JAX_ROLL_CALL_PORT"),
    ):
        call(0)()


def test_the_port_beside_the_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IM_JAX_ROLL_CALL_PORT", raising=False)
    assert (Place("10.0.0.1:1234", 2, 0).port, Place("[::1]:65535", 2, 0).port) == (1235, 65534)
    assert Place("[::1]:8476", 2, 0) == ("[::1]:8476", 2, 0)
    assert (Place("[::1]:8476", 2, 0).host, Place("t:8476", 2, 0).port) == ("::1", 8474)
    monkeypatch.setenv("IM_JAX_ROLL_CALL_PORT", "http")
    with pytest.raises(ConfigError, match="IM_JAX_ROLL_CALL_PORT=http is not a port"):
        _ = Place("t:1", 2, 0).port
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "t:x")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    with pytest.raises(ConfigError, match="t:x has no port"):
        place_from_environment()


def test_facts_know_versions_and_code() -> None:
    facts = own_facts({"seed": 1})
    assert {"seed", "version of jax", "version of Python", "code of im_jax"} <= facts.keys()
    assert differences(["a", "b"], [facts, facts]) == []
    many = [{str(n): 0 for n in range(20)}, {str(n): 1 for n in range(20)}]
    assert differences(["a", "b"], many)[-1] == "and 12 more"


class LeftError(Exception):
    """Instead of the end of a process."""


class Ends(list[tuple[str, int]]):
    """How processes were ended by others."""

    def __call__(self, message: str, code: int) -> None:
        self.append((message, code))
        raise LeftError

    def wait(self, count: int) -> None:
        deadline = time.monotonic() + SECONDS
        while len(self) < count:
            assert time.monotonic() < deadline, self
            time.sleep(0.02)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    found = Ends()
    monkeypatch.setattr(peers, "_OWN_END_SECONDS", 0.1)
    monkeypatch.setattr(peers, "_OTHERS_SECONDS", 0.5)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    return found


@pytest.fixture
def three(port: int, ends: Ends) -> list[Peers]:
    rolls = [each.result() for each in together(call(0), call(1), call(2))]
    return [Peers(roll, number, 2.0, ends) for number, roll in enumerate(rolls)]


def test_one_that_is_killed_ends_all_with_43(three: list[Peers], ends: Ends) -> None:
    three[1]._connections[0].close()
    ends.wait(3)  # host 1 itself too, which has lost host 0
    assert {code for _, code in ends} == {43}
    told = [
        text for text, _ in ends if re.match(r"host 1 \(.*\) was killed, or its machine is gone; host", text)
    ]
    assert len(told) == 2


def test_one_that_is_silent_is_lost(three: list[Peers], ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three[2], "_tell_all", lambda *_, **__: None)
    ends.wait(2)
    assert any("host 2 " in text and "gave no sign of life for 2 s" in text for text, _ in ends)


@pytest.mark.parametrize(("code", "theirs"), [(1, 43), (2, 2)])
def test_an_error_of_one_ends_the_others(three: list[Peers], ends: Ends, code: int, theirs: int) -> None:
    three[1].goodbye(code, "the disk\nis full")
    ends.wait(2)
    assert {found for _, found in ends} == {theirs}
    assert all(f"ended with exit code {code}: the disk is full" in text for text, _ in ends)


def test_good_ends_end_nobody_else(three: list[Peers], ends: Ends) -> None:
    for each, code in zip(three, (0, 42, 0), strict=True):
        each.goodbye(code, "")
    for each in three[1:]:
        each._connections[0].close()
    deadline = time.monotonic() + SECONDS
    while three[0]._closed != {1, 2}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert all("host 0 " not in text.partition(";")[2] for text, _ in ends)


def test_all_agree_or_all_stop(three: list[Peers]) -> None:
    found = together(*(lambda each=each: each.require_same("data", {"rows": (1, 2)}) for each in three))
    assert [each.result() for each in found] == [None] * 3
    rows = [lambda n=n: three[n].require_same("more", {"rows": n // 2}) for n in range(3)]
    for each in together(*rows):
        with pytest.raises(
            ConfigError, match=r"the hosts differ in more.*host 2 \(.*\): rows=1, on host 0 .* 0"
        ):
            each.result()
