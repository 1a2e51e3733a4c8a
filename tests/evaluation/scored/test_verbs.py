"""`evaluate judge` and `evaluate score` as they are typed: figures, files, failures, first mistakes."""

import gzip
import json
import pathlib
from typing import Any

import pytest

from im_jax import evaluate
from im_jax.evaluation.code.confinement import unavailable
from tests.evaluation.judged.stand_in import completion, fails, hangs_up, in_turn, send, served

OUTPUTS = [{"instruction": f"i{n}", "output": "mine", "generator": "m"} for n in range(6)]
REFERENCES = [{"instruction": f"i{n}", "output": "ref", "generator": "r", "dataset": "d"} for n in range(7)]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        evaluate.run(["evaluate", *words])
    return int(end.value.code or 0)


def write(path: pathlib.Path, records: list[Any], *, lines: bool = False) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records) if lines else json.dumps(records))
    return str(path)


def prefers_mine(body: dict[str, Any], handler: Any) -> None:
    prompt = body["messages"][-1]["content"]
    second = prompt.index("mine") > prompt.index("ref")
    send(
        handler,
        completion("M" if second else "m", logprobs={"M": 0.9, "m": 0.1} if second else {"m": 0.9, "M": 0.1}),
    )


@pytest.fixture
def alpaca(tmp_path: pathlib.Path) -> list[str]:
    return [
        "--benchmark=alpaca_eval", f"--answers={write(tmp_path / 'o.json', OUTPUTS)}",
        f"--reference={write(tmp_path / 'r.json', REFERENCES)}", "--judge=j", f"--output={tmp_path / 'a.json'}",
    ]  # fmt: skip


def test_alpaca_eval_is_judged_scored_and_compared(
    alpaca: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(prefers_mine) as server:
        flags = [
            *alpaca,
            f"--endpoint={server.url}",
            "--both_orders",
            "--price_prompt=10",
            "--price_completion=30",
            "--max_cost=9",
        ]
        assert run("judge", *flags) == 0
        said = capsys.readouterr().err
        assert "1 of 7 instructions have no output, and are left out" in said
        assert "12 requests, of which 12 are to be sent, for " in said and "cost 0.0030" in said
        assert run("judge", *flags) == 0 and len(server.asked) == 12
        assert "12 answered, 12 of them before; 0 without a verdict" in capsys.readouterr().err
    assert (
        run(
            "score",
            "--benchmark=alpaca_eval",
            f"--judgements={tmp_path / 'a.json'}",
            f"--output={tmp_path / 'one'}",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "alpaca_eval of m (judge weighted j prompt " in said and "90.000" in said
    assert "note: length-controlled win rate: missing; it needs df_gamed.csv" in said
    annotations = json.loads((tmp_path / "a.json").read_text())
    for each in annotations:
        each["preference"] = 1.0
    write(tmp_path / "b.json", annotations)
    run(
        "score",
        "--benchmark=alpaca_eval",
        f"--judgements={tmp_path / 'b.json'}",
        f"--output={tmp_path / 'two'}",
    )
    capsys.readouterr()
    assert run("compare", str(tmp_path / "one"), str(tmp_path / "two"), "--format=json") == 0
    (compared,) = json.loads(capsys.readouterr().out)
    assert compared["differences"][0]["value"] == pytest.approx(-90.0)


def test_what_fails_is_counted_and_named_and_the_same_command_goes_on(
    alpaca: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(in_turn(prefers_mine, hangs_up, fails(400, "odd"), prefers_mine)) as server:
        flags = [*alpaca, f"--endpoint={server.url}", "--workers=1", "--tries=1"]
        assert run("judge", *flags) == 1
        said = capsys.readouterr().err
        assert "4 answered, 0 of them before; 2 without a verdict" in said
        assert "1 HTTP 400: odd: 3 'i2'" in said and "1 connection closed: " in said
        assert "may have been billed, and count as if they were" in said
        failures = tmp_path / "a.json.failures.jsonl"
        assert [json.loads(line)["name"] for line in failures.read_text().splitlines()] == [
            "2 'i1'",
            "3 'i2'",
        ]
        assert [r["preference"] is None for r in json.loads((tmp_path / "a.json").read_text())] == [
            False,
            True,
            True,
            False,
            False,
            False,
        ]
        assert run("judge", *flags) == 0 and not failures.exists() and len(server.asked) == 8


def test_an_answer_that_is_no_text_is_written_and_read_all_the_same(
    alpaca: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(body: dict[str, Any], handler: Any) -> None:
        send(handler, completion("half a pair: \ud800", logprobs={"m": 0.5, "M": 0.5}))

    with served(odd) as server:
        assert run("judge", *alpaca, f"--endpoint={server.url}") == 0
    assert run("score", "--benchmark=alpaca_eval", f"--judgements={tmp_path / 'a.json'}") == 0
    capsys.readouterr()


def test_a_dry_run_asks_nothing(alpaca: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("judge", *alpaca, "--endpoint=http://127.0.0.1:9/v1", "--dry_run") == 0
    assert "6 requests, of which 6 are to be sent" in capsys.readouterr().err


def test_mt_bench_is_judged_and_scored(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "mt"
    (data / "reference_answer").mkdir(parents=True)
    turns = [{"index": 0, "turns": ["a", "b"]}]
    write(
        data / "question.jsonl",
        [{"question_id": n, "category": c, "turns": ["q", "r"]} for n, c in ((1, "math"), (2, "stem"))],
        lines=True,
    )
    write(data / "reference_answer" / "gpt-4.jsonl", [{"question_id": 1, "choices": turns}], lines=True)
    names = [f"single-{kind}v1{end}" for kind in ("", "math-") for end in ("", "-multi-turn")]
    write(
        data / "judge_prompts.jsonl",
        [{"name": n, "system_prompt": n, "prompt_template": "{question}"} for n in names],
        lines=True,
    )
    answers = write(
        tmp_path / "m.jsonl",
        [{"question_id": n, "model_id": "mine", "choices": turns} for n in (1, 2)],
        lines=True,
    )

    def rates(body: dict[str, Any], handler: Any) -> None:
        math = "math" in body["messages"][0]["content"]
        send(handler, completion(f"Well. [[{3 if math else 8}]]"))

    output = tmp_path / "j.jsonl"
    with served(rates) as server:
        flags = [
            f"--answers={answers}",
            f"--data={data}",
            "--judge=gpt-4",
            f"--output={output}",
            f"--endpoint={server.url}",
        ]
        assert run("judge", "--benchmark=mt_bench", *flags) == 0
    capsys.readouterr()
    assert (
        run("score", "--benchmark=mt_bench", f"--judgements={output}", f"--data={data}", "--format=json") == 0
    )
    (found,) = json.loads(capsys.readouterr().out)
    assert {name: each["value"] for name, each in found["figures"].items()} == {
        "all": 5.5,
        "turn 1": 5.5,
        "turn 2": 5.5,
        "math": 3.0,
        "stem": 8.0,
    }
    assert (found["model"], found["about"], found["notes"]) == ("mine", {"judge": "gpt-4"}, [])
    run("score", "--benchmark=mt_bench", f"--judgements={output}")
    assert "by category: missing; it needs the questions" in capsys.readouterr().out


@pytest.mark.skipif(bool(unavailable()), reason="programs cannot be confined here")
def test_human_eval_is_run_and_scored_by_temperature(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {
        "task_id": "t/0",
        "prompt": "def f():\n",
        "entry_point": "f",
        "test": "def check(f):\n    assert f() == 1",
    }
    samples = [
        {"task_id": "t/0", "completion": f"    return {v}", "temperature": t}
        for t, v in ((0.1, 1), (0.1, 1), (0.7, 1), (0.7, 2))
    ]
    data, answers = (
        write(tmp_path / "p.jsonl", [problem], lines=True),
        write(tmp_path / "s.jsonl", samples, lines=True),
    )
    assert (
        run(
            "score",
            "--benchmark=human_eval",
            f"--data={data}",
            f"--answers={answers}",
            f"--output={tmp_path / 'out'}",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "pass@1, temperature 0.1" in said and "100.000" in said and "50.000" in said
    assert "2 of each problem, temperature 0.7; did not pass: 1 AssertionError" in said
    assert "the better pass@1 is that of temperature 0.1" in said
    item = json.loads((tmp_path / "out" / "items" / "human_eval.jsonl").read_text())
    assert item["metrics"] == {"pass@1,t0.1": 100.0, "pass@1,t0.7": 50.0}


def test_ifeval_is_scored(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lm_eval", reason="the rules are those of the extra `eval`")
    prompt = {"key": 5, "prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    data = write(tmp_path / "p.jsonl", [prompt, prompt | {"key": 6, "prompt": "q"}], lines=True)
    answers = write(tmp_path / "a.jsonl", [{"prompt": "p", "response": "a b"}], lines=True)
    assert (
        run(
            "score",
            "--benchmark=ifeval",
            f"--data={data}",
            f"--answers={answers}",
            f"--output={tmp_path / 'out'}",
            "--format=json",
        )
        == 0
    )
    (found,) = json.loads(capsys.readouterr().out)
    assert found["figures"]["prompts, strict"]["value"] == 100.0 and found["notes"][0].startswith(
        "1 prompt not answered"
    )
    again = ["--benchmark=ifeval", f"--data={data}", f"--answers={answers}", f"--output={tmp_path / 'out'}"]
    assert run("score", *again) == 2 and "out has results; choose another folder" in capsys.readouterr().err
    item = json.loads((tmp_path / "out" / "items" / "ifeval.jsonl").read_text())
    assert item["doc_id"] == 5 and item["ratios"]["instruction_loose,none"] == [100.0, 1.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score"], "error: which benchmark? set --benchmark to one of alpaca_eval, mt_bench, ifeval, human_eval"),
        (["score", "--benchmark=alpaca_eval"], "error: alpaca_eval is scored from --judgements=FILE, which is not given"),
        (["score", "--benchmark=alpaca_eval", "--judgements=no.json"], "error: --judgements=no.json: there is no such file"),
        (["score", "--benchmark=alpaca_eval", "--judgements=o.json"], "error: o.json:element 1: has no field 'output_1'; it has instruction, output, generator"),
        (["score", "--benchmark=alpaca_eval", "--judgements=a", "--data=b"], "error: --data is not for alpaca_eval, which takes judgements; leave it out"),
        (["score", "--benchmark=alpaca"], "error: flag --benchmark=alpaca: value should be one of"),
        (["judge"], "error: which benchmark? set --benchmark to one of alpaca_eval, mt_bench"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json"], "error: judging alpaca_eval needs --reference, which is not given"),
        (["judge", "--benchmark=mt_bench", "--answers=o", "--data=d", "--judge=j", "--output=x", "--both_orders"], "error: --both_orders is not for mt_bench; leave it out"),
        (["judge", "--benchmark=mt_bench", "--answers=o.json", "--data=d", "--judge=j", "--output=x", "--endpoint=http://x"], "error: --data=d: there is no such folder; give FastChat's data/mt_bench"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json", "--reference=r.json", "--judge=j", "--output=x"], "error: https://api.openai.com/v1 needs a key, and $OPENAI_API_KEY is not set"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json", "--reference=r.json", "--judge=j", "--output=x", "--endpoint=localhost"], "error: --endpoint=localhost is no address"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json", "--reference=r.json", "--judge=j", "--output=x", "--endpoint=http://x", "--max_cost=1"], "error: --max_cost=1 needs the judge's prices"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json", "--reference=r.json", "--judge=j", "--output=no/x", "--endpoint=http://x"], "error: --output=no/x: there is no folder no; make it"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json", "--reference=r.json", "--judge=j", "--output=x", "--endpoint=http://x", "--fields=3"], "error: --fields=3 is no JSON object"),
        (["judge", "--benchmark=alpaca_eval", "--answers=o.json", "--reference=o.json", "--judge=j", "--output=x", "--endpoint=http://x", "--judge_prompt=no"], "error: --judge_prompt=no: there is no such file"),
    ],
)  # fmt: skip
def test_first_mistakes_are_one_line(
    words: list[str],
    message: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    write(tmp_path / "o.json", OUTPUTS)
    write(tmp_path / "r.json", REFERENCES)
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith(message) and said.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_judge_that_says_what_was_published_gives_the_published_preferences(
    shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    results = shared_data / "alpaca_eval" / "results"
    with gzip.open(results / "alpaca-7b" / "weighted_alpaca_eval_gpt4_turbo" / "annotations.json.gz") as file:
        stored = {each["instruction"]: each for each in json.load(file)}
    with gzip.open(results / "alpaca-7b" / "model_outputs.json.gz") as file:
        outputs = json.load(file)[::10]

    def replays(body: dict[str, Any], handler: Any) -> None:
        choice = stored[body["messages"][-1]["content"].split("@@@@")[1]]["raw_completion"]
        send(handler, json.dumps({"choices": [choice | {"message": {"content": "m"}}]}).encode())

    prompt, output = tmp_path / "prompt.txt", tmp_path / "a.json"
    prompt.write_text("@@@@{instruction}@@@@{output_1}{output_2}")
    with served(replays) as server:
        flags = [
            f"--answers={write(tmp_path / 'o.json', outputs)}", f"--output={output}", "--judge=j",
            f"--reference={results / 'gpt4_1106_preview' / 'model_outputs.json.gz'}", f"--endpoint={server.url}",
            f"--judge_prompt={prompt}",
        ]  # fmt: skip
        assert run("judge", "--benchmark=alpaca_eval", *flags) == 0
    found = json.loads(output.read_text())
    assert len(found) == len(outputs) == 81
    for each in found:
        assert each["preference"] == pytest.approx(stored[each["instruction"]]["preference"], abs=6e-11)
