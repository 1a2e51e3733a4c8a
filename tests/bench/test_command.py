"""The command as a user types it, and workers that cannot do what they are asked."""

import json
import subprocess
import sys

import pytest

from im_jax.bench import options, process, rounds
from im_jax.bench.case import Case
from im_jax.bench.methods import Method
from im_jax.bench.rounds import Plan, measure
from im_jax.errors import ConfigError
from tests.conftest import REPOSITORY


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "im_jax.bench", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)


def test_two_contestants_are_compared_in_turn() -> None:
    done = run(
        "cross_entropy",
        "--shape=64x32x100",
        "--active=0.25",
        "--methods=im_jax,optax",
        "--rounds=3",
        "--format=json",
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["header"]["command"].startswith("python -m im_jax.bench cross_entropy --shape=64x32x100")
    (case,) = result["cases"]
    assert case["reference"]["values"]["flops"] == 6 * 16 * 32 * 100
    assert case["order"] == [["im_jax", "optax"], ["optax", "im_jax"], ["im_jax", "optax"]]
    ours, optax = case["outcomes"]
    for outcome in (ours, optax):
        assert outcome["status"] == "ready", outcome["reason"]
        assert len(outcome["seconds"]) == 3 and min(outcome["seconds"]) > 0
        assert max(outcome["idle_cpu_seconds"]) < 0.5  # a worker that waits must not use a core
        assert outcome["versions"].keys() >= {"jax", "optax", "numpy"}
        assert outcome["memory"]["output"] >= 4 * (64 * 32 + 32 * 100)
        assert max(case["rows"][outcome["name"]]["differences"].values()) < 1e-5
    assert case["rows"]["optax"]["ratio"] == case["rows"]["optax"]["ratio_of_medians"] == 1
    assert case["rows"]["im_jax"]["ratio"] > 0


def test_missing_and_failing_contestants_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = {
        "missing": Method("cross_entropy_jax", "optax", ("surely_not_installed",)),
        "broken": Method("cross_entropy_jax", "im_jax:no_such_implementation", ()),
    }
    monkeypatch.setattr(rounds, "find_method", lambda _, name: (methods[name], {}))
    case = Case("cross_entropy", (8, 4, 10), "float32")
    plan = Plan(methods=list(methods), rounds=1, pythons={}, limit=120)
    missing, broken = measure(case, plan, progress=lambda _: None).outcomes
    assert (missing.status, missing.reason) == ("not installed", "surely_not_installed")
    assert broken.status == "failed"
    assert broken.reason.startswith("ValueError: implementation must be one of")
    assert missing.seconds == broken.seconds == []


def test_a_worker_that_dies_or_hangs_is_an_answer() -> None:
    with process.start(None, {}, limit=60) as worker:
        assert worker.ask({"command": "run"}) == {
            "status": "failed",
            "reason": "asked to run before it was prepared",
        }
        dead = worker.ask({"not a": "command"})
        assert dead["status"] == "failed" and dead["reason"].endswith("KeyError: 'command'")
    with process.start(None, {}, limit=0.001) as worker:
        late = worker.ask({"command": "run"})
        assert late == {"status": "failed", "reason": "took longer than 0.001 seconds"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            r"which benchmark\? '' is none; name one first: cross_entropy, attention, train_step, lora, rewrites, prepare",
        ),
        (["cross_entropi"], r"'cross_entropi' is none"),
        (["cross_entropy", "--methods=optx"], r"cross_entropy has no method 'optx'; did you mean optax\?"),
        (["attention", "--methods=optax"], r"attention has no method 'optax'; .*It has im_jax, "),
        (["cross_entropy", "--shape=64x32"], r"--shape=64x32 must be 3 numbers above 0, written NxDxV"),
        (["cross_entropy", "--shape=64x0x32"], r"--shape=64x0x32 must be 3 numbers above 0"),
        (["cross_entropy", "--active=0"], r"--active=0: a share must be a number above 0 and at most 1"),
        (["cross_entropy", "--active=0.5,1.5"], r"--active=1\.5: a share"),
        (["train_step", "--active=nan"], r"--active=nan: a share"),
        (["cross_entropy", "--active=half"], r"--active=half: a share"),
        (["cross_entropy", "--dtype=float16"], r"--dtype='float16' is not one of float32, bfloat16"),
        (["cross_entropy", "--rounds=0"], r"rounds"),
        (["cross_entropy", "--format=xml"], r"format"),
        (["cross_entropy", "--examples=2"], r"[Uu]nknown command line flag 'examples'"),
        (["cross_entropy", "extra"], r"unexpected argument 'extra'"),
        (["attention", "--examples=600"], r"--examples=600: must be a number from 1 to the 512 tokens"),
        (["train_step", "--shape=8x1"], r"a row of one token has no target"),
        (["train_step", "--model=10x6x1x2x1x8"], r"--model: embed 6 must be an even multiple of heads 2"),
        (["rewrites", "--shape=8x6x1"], r"--shape=8x6x1: side 1 must be from 2, .* to the 6 letters"),
        (["rewrites", "--shape=8x6x7"], r"--shape=8x6x7: side 7 must be from 2"),
        (["rewrites", "--model=2x3x64"], r"--model: embed 64 must be a multiple of heads 3"),
        (["rewrites", "--work=train,test"], r"--work='test' is not one of train, evaluate"),
        (["rewrites", "--dtype=bfloat16"], r"[Uu]nknown command line flag 'dtype'"),
        (
            ["train_step", "--tunix_python=/no/such/python"],
            r"--tunix_python=/no/such/python: no such program",
        ),
    ],
)
def test_mistakes_are_found_before_anything_starts(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options.parse(["bench", *arguments])


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    done = run("cross_entropy", "--shape=big")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --shape=big must be 3 numbers above 0, written NxDxV\n"


def test_help_lists_methods_and_flags() -> None:
    done = run("train_step", "--help")
    assert done.returncode == 0
    assert "train_step: im_jax, im_jax_optax, transformers," in done.stdout
    assert "--tunix_python" in done.stdout and "NxDxV" not in done.stdout
