"""Asking a judge: what fails is counted and named, nothing is paid for twice or above the limit, nothing is lost."""

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from im_jax.child_process import environment
from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged.asking import OVER_COST, Answers, Manner, Query, ask_all
from im_jax.evaluation.judged.budget import Budget, Prices, most_tokens
from im_jax.evaluation.judged.endpoint import Endpoint, EndpointError
from im_jax.evaluation.judged.ledger import Ledger, Spent
from tests.evaluation.judged.stand_in import (
    Reply,
    StandIn,
    fails,
    half,
    hangs,
    hangs_up,
    in_turn,
    nonsense,
    says,
    served,
    trickles,
)

QUICK = Manner(workers=1, tries=2, first_wait=0.01)


def query(number: int) -> Query:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Query(f"q{number}", {"model": "j", "messages": messages, "max_tokens": 5})


def ask(
    server: StandIn,
    path: pathlib.Path,
    queries: Sequence[Query],
    manner: Manner = QUICK,
    max_cost: float | None = None,
    seconds: float = 30.0,
    key: str = "",
) -> tuple[Answers, Budget]:
    with Ledger(path) as ledger:
        budget = Budget(ledger, Prices(10.0, 20.0), max_cost)
        return ask_all(queries, Endpoint(server.url, key, seconds), ledger, budget, manner), budget


def test_an_answer_is_kept_and_not_asked_for_again(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cache.jsonl"
    with served(says("[[5]]")) as server:
        first, budget = ask(server, path, [query(1), query(2)], key="secret")
        again, _ = ask(server, path, [query(1), query(2), query(3)])
        assert [len(server.asked), server.keys[0], server.keys[2]] == [3, "Bearer secret", None]
    assert first.completions["q1"].choice["message"]["content"] == "[[5]]" and first.cached == 0
    assert (again.cached, again.failures, set(again.completions)) == (2, {}, {"q1", "q2", "q3"})
    assert again.completions["q1"] == first.completions["q1"]
    assert budget.spent == pytest.approx(2 * (10 * 10 + 5 * 20) / 1e6)
    assert "secret" not in path.read_text()


def test_equal_requests_are_sent_once_and_another_request_is_another(tmp_path: pathlib.Path) -> None:
    same = [Query("a", query(1).body), Query("b", query(1).body)]
    with served(says("x")) as server:
        answers, _ = ask(server, tmp_path / "c", same)
        assert len(server.asked) == 1 and set(answers.completions) == {"a", "b"}
        ask(server, tmp_path / "c", [Query("a", {**query(1).body, "temperature": 1.0})])
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "tries", "may_be_billed"),
    [
        (hangs, "timeout", 2, True),
        (trickles, "timeout", 2, True),
        (half, "connection closed", 2, True),
        (hangs_up, "connection closed", 2, True),
        (nonsense, "nonsense", 2, True),
        (says(None), "nonsense", 2, True),  # type: ignore[arg-type]
        (fails(429), "HTTP 429", 2, False),
        (fails(500), "HTTP 500", 2, False),
        (fails(400, "too long"), "HTTP 400", 1, False),
        (fails(302, Location="http://127.0.0.1:9/"), "HTTP 302", 1, False),
    ],
)
def test_each_failure_is_named_and_what_may_be_billed_is_counted(
    reply: Reply, kind: str, tries: int, may_be_billed: bool, tmp_path: pathlib.Path
) -> None:
    with served(reply) as server:
        seconds = 0.3 if kind == "timeout" else 30.0
        answers, budget = ask(server, tmp_path / "c", [query(1)], seconds=seconds)
        assert len(server.asked) == tries
    assert answers.failures["q1"].startswith(kind) and not answers.completions
    assert dict(answers.tries_failed) == {kind: tries}
    most = most_tokens(query(1).body)
    billed = Prices(10.0, 20.0).cost(Spent(tries * most.prompt, tries * most.completion))
    assert budget.spent == pytest.approx(billed if may_be_billed else 0.0)


@pytest.mark.parametrize("reply", [hangs_up, half, nonsense, fails(429), fails(503)])
def test_what_comes_right_at_the_second_try_is_no_failure(reply: Reply, tmp_path: pathlib.Path) -> None:
    with served(in_turn(reply, says("[[7]]"))) as server:
        answers, _ = ask(server, tmp_path / "c", [query(1)])
    assert answers.failures == {} and answers.completions["q1"].choice["message"]["content"] == "[[7]]"
    assert sum(answers.tries_failed.values()) == 1


def test_no_server_is_a_failure_by_its_name(tmp_path: pathlib.Path) -> None:
    with served(says("x")) as server:
        url = server.url
    with pytest.raises(EndpointError, match=r"no connection: .*refused") as caught:
        Endpoint(url).ask(query(1).body)
    assert caught.value.again and not caught.value.billed


def test_what_the_server_says_of_waiting_is_done(tmp_path: pathlib.Path) -> None:
    manner = Manner(workers=1, tries=2, first_wait=1000.0)
    with served(in_turn(fails(429, Retry_After="0"), says("x"))) as server:
        answers, _ = ask(server, tmp_path / "c", [query(1)], manner)
    assert answers.failures == {}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (fails(401, "bad key"), "HTTP 401: bad key"),
        (fails(404, "no such model"), "HTTP 404: no such model"),
        (fails(429, "pay first", "insufficient_quota"), "HTTP 429: pay first"),
    ],
)
def test_where_no_request_can_succeed_no_more_are_sent(
    reply: Reply, reason: str, tmp_path: pathlib.Path
) -> None:
    with served(reply) as server:
        answers, _ = ask(server, tmp_path / "c", [query(n) for n in range(30)])
        assert len(server.asked) == 1
    assert answers.failures["q0"] == reason and len(answers.failures) == 30
    assert answers.failures["q29"] == f"not asked: {reason}"


def test_after_ten_failures_in_a_row_no_more_are_sent_and_the_same_command_goes_on(
    tmp_path: pathlib.Path,
) -> None:
    manner = Manner(workers=1, tries=1)
    queries = [query(n) for n in range(20)]
    with served(in_turn(says("x"), says("x"), *[fails(500)] * 10, says("x"))) as server:
        answers, _ = ask(server, tmp_path / "c", queries, manner)
        assert len(server.asked) == 12
        assert len(answers.completions) == 2 and len(answers.failures) == 18
        assert (
            answers.failures["q19"]
            == "not asked: 10 requests failed one after the other, the last by HTTP 500: no"
        )
        answers, _ = ask(server, tmp_path / "c", queries, manner)
        assert len(server.asked) == 12 + 18 and answers.failures == {} and answers.cached == 2


def test_another_server_is_another_judge(tmp_path: pathlib.Path) -> None:
    for _ in range(2):
        with served(says("x")) as server:
            answers, _budget = ask(server, tmp_path / "c", [query(1)])
            assert (answers.cached, len(server.asked)) == (0, 1)


def test_the_cost_limit_is_kept_over_runs_and_what_it_leaves_is_named(tmp_path: pathlib.Path) -> None:
    most = Prices(10.0, 20.0).cost(most_tokens(query(1).body))
    spent = (10 * 10 + 5 * 20) / 1e6
    assert spent < most
    limit = 3 * spent + most * 1.01
    with served(says("x")) as server:
        answers, budget = ask(server, tmp_path / "c", [query(n) for n in range(9)], max_cost=limit)
        assert len(server.asked) == 4 and budget.spent == pytest.approx(4 * spent)
        assert answers.failures == {f"q{n}": OVER_COST for n in range(4, 9)}
        again, _ = ask(server, tmp_path / "c", [query(n) for n in range(9)], max_cost=limit)
        assert len(server.asked) == 4 and again.cached == 4 and len(again.failures) == 5
        more, _ = ask(server, tmp_path / "c", [query(n) for n in range(9)], max_cost=1.0)
        assert len(server.asked) == 9 and more.failures == {}


def test_the_cost_limit_is_kept_with_many_at_once_and_without_usage(tmp_path: pathlib.Path) -> None:
    most = Prices(10.0, 20.0).cost(most_tokens(query(1).body))
    with served(says("x", usage=None)) as server:
        manner = Manner(workers=8, tries=1)
        answers, budget = ask(
            server, tmp_path / "c", [query(n) for n in range(9)], manner, max_cost=3.5 * most
        )
        assert len(server.asked) == 3 == answers.without_usage
    assert budget.spent == pytest.approx(3 * most) and len(answers.failures) == 6


def test_timeouts_count_against_the_limit_at_their_most(tmp_path: pathlib.Path) -> None:
    most = Prices(10.0, 20.0).cost(most_tokens(query(1).body))
    with served(hangs_up) as server:
        answers, _ = ask(server, tmp_path / "c", [query(1)], Manner(1, 5, 0.01), max_cost=2.5 * most)
        assert len(server.asked) == 2
    assert answers.failures == {"q1": OVER_COST}


def test_a_limit_needs_prices_and_a_request_a_bound(tmp_path: pathlib.Path) -> None:
    needs = "--max_cost=5 needs the judge's prices"
    with Ledger(tmp_path / "c") as ledger, pytest.raises(ConfigError, match=needs):
        Budget(ledger, None, 5.0)
    with pytest.raises(ConfigError, match="no max_tokens"):
        most_tokens({"messages": []})
    with pytest.raises(ConfigError, match="--price_prompt=-1"):
        Prices(-1, 0)


def test_no_more_are_asked_at_once_than_workers(tmp_path: pathlib.Path) -> None:
    def slow(body: dict[str, object], handler: object) -> None:
        time.sleep(0.05)
        says("x")(body, handler)  # type: ignore[arg-type]

    with served(slow) as server:
        ask(server, tmp_path / "c", [query(n) for n in range(9)], Manner(workers=3))
        assert server.most_at_once == 3


def test_a_rate_limit_spreads_requests(tmp_path: pathlib.Path) -> None:
    began = time.monotonic()
    with served(says("x")) as server:
        ask(server, tmp_path / "c", [query(n) for n in range(4)], Manner(workers=4, per_minute=1200))
    assert time.monotonic() - began > 3 * 60 / 1200


def test_a_killed_judge_has_lost_nothing_that_was_answered(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c"
    code = (
        "import sys; from tests.evaluation.judged.test_asking import *\n"
        "with Ledger(pathlib.Path(sys.argv[1])) as ledger:\n"
        "    ask_all([query(n) for n in range(50)], Endpoint(sys.argv[2]), ledger, Budget(ledger, None, None), Manner(workers=2))\n"
    )

    def slow(body: dict[str, object], handler: object) -> None:
        time.sleep(0.02)
        says("x")(body, handler)  # type: ignore[arg-type]

    with served(slow) as server:
        process = subprocess.Popen([sys.executable, "-c", code, str(path), server.url], env=environment())
        while len(server.asked) < 12:
            time.sleep(0.01)
        process.kill()
        process.wait()
        time.sleep(0.05)
        path.write_bytes(path.read_bytes() + b'{"key": "cut off')
        asked = len(server.asked)
        answers, _ = ask(server, path, [query(n) for n in range(50)], Manner(workers=8))
        assert answers.failures == {} and answers.cached >= 12 - 2
        assert len(server.asked) - asked == 50 - answers.cached
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] and len(
        path.read_text().splitlines()
    ) == 50


def test_a_ledger_is_held_by_one_and_a_damaged_one_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c"
    with Ledger(path), pytest.raises(ConfigError, match="another process is judging with it"), Ledger(path):
        pass
    path.write_text('{"key": 1}\n')
    with pytest.raises(DataError, match=r"c:1: is no line of answers"), Ledger(path):
        pass


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://x", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address; write it as https://"):
        Endpoint(url)


def test_the_key_is_never_shown() -> None:
    assert "secret" not in repr(Endpoint("http://x", "secret"))
    with pytest.raises(ConfigError, match="the key of the endpoint") as caught:
        Endpoint("http://x", "sec ret\n")
    assert "sec ret" not in str(caught.value)
