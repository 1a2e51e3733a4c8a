"""`python -m im_jax.plan`: what it says, its exit codes, and what it refuses."""

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from im_jax.command_line import runner
from im_jax.errors import ConfigError
from im_jax.plan import slices as plan
from im_jax.pods import planning
from tests.conftest import REPOSITORY

KEYS = {
    "devices",
    "hbm_bytes",
    "argument_bytes",
    "temporary_bytes",
    "peak_bytes",
    "fits",
    "flops",
    "collectives",
    "largest_buffers",
    "largest_batch",
}
LARGE = ("--config=configs/llama2_7b.py", "--model=llama2_7b")
TINY = ("--config=configs/cpu_debug.py",)
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the compiler of TPUs is not here: pip install libtpu"
)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """The exit code, and what is printed as JSON."""
    arguments = plan.run.parse(["plan", *words, "--format=json"])
    code = plan.main(arguments)
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def test_gpus_are_judged_by_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = planned(
        capsys, *LARGE, "--topology=h100:8", "--config.train.steps=10", "--config.train.epochs=0"
    )
    assert code == 0 and found.keys() >= KEYS
    assert (found["devices"], found["known_by"], found["fits"]) == (8, "shapes", True)
    # Weights and two moments in float32, cut in eight, and rows of five arrays.
    state = 3 * 4 * 6_738_415_616
    assert found["argument_bytes"] == pytest.approx(state / 8, rel=1e-3)
    assert found["checkpoint"]["bytes"] == pytest.approx(state, rel=1e-6)
    assert found["peak_bytes"] > found["argument_bytes"] + state / 24
    assert found["temporary_bytes"] is None and found["largest_batch"] is None
    assert 1.2 < found["flops"] / found["model_flops"] < 4 / 3
    assert found["step_seconds_at_least"]["by"] == "compute"
    assert found["price"]["on_demand"]["dollars_per_run_at_least"] is None  # no price is known


def test_what_does_not_fit_is_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = planned(capsys, *LARGE, "--topology=h100:1,h100:8")
    assert code == 1 and [each["fits"] for each in found["plans"]] == [False, True]


def test_slices_are_ranked_and_those_that_cannot_be_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = planned(capsys, *LARGE, "--search", "--topology=a100:1,h100:16,h100:8,h100:24")
    assert code == 0
    assert [each["topology"] for each in found["plans"]] == [
        "h100:16",
        "h100:8",
    ]  # no prices: the faster first
    why = {each["topology"]: each["reason"] for each in found["refused"]}
    assert "train.batch_size=128 is not divisible by 24" in why["h100:24"]
    assert why["a100:1"] == "it cannot hold the state"


def test_a_chip_alone_stands_for_its_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "require_compiler", lambda topology: None)
    names = [each.name for each in planning.topologies("v6e, h100:8", 1)]
    assert names[0] == "v6e:1x1" and names[-2:] == ["v6e:16x16", "h100:8"] and len(names) == 9


def test_the_report_says_it_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert plan.main(plan.run.parse(["plan", *TINY, "--topology=a100:2", "--config.train.batch_size=8"])) == 0
    text = capsys.readouterr().out
    for words in (
        "a100:2: may fit, by shapes alone",
        "2 (1 host, replica 1 x fsdp 2 x tensor 1)",
        "not a forecast",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (TINY, "no slice given; set --topology=v5e:8x8, or --search"),
        ((*TINY, "--topology=v5e-64"), "its 64 chips are --topology=v5e:8x8"),
        ((*TINY, "--topology=h100:8", "--model=llama2_6b"), "no such model, did you mean"),
        (
            ("--config=configs/llama2_7b.py", "--topology=h100:8"),
            "Llama-2-7b-hf is not here; set --model=NAME",
        ),
        ((*TINY, "--topology=h100:8", "--save_rate=0"), "--save_rate=0 must be above 0"),
        ((*LARGE, "--topology=h100:3"), "train.batch_size=128 is not divisible by 3"),
        ((*LARGE, "--topology=h100:8", "--config.mesh.fsdp=3"), "does not cover the 8 devices"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan.main(plan.run.parse(["plan", *words]))
    assert says.partition(",")[0] in str(refused.value) and "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_without_the_compiler_of_tpus_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "libtpu" else found(name, *rest)
    )
    arguments = plan.run.parse(["plan", *TINY, "--topology=v5e:2x2"])
    assert runner.exit_code(lambda: plan.main(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "install the extra tpu" in error


def test_the_exit_code_reaches_the_shell() -> None:
    command = [sys.executable, "-m", "im_jax.plan", *TINY, "--topology=v5e:8x4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--topology=v5e:4x8" in done.stderr


@needs_libtpu
@pytest.mark.tpu_memory
def test_a_small_step_is_compiled_for_tpus(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*TINY, "--topology=v5e:2x2", "--config.train.batch_size=8", "--notrials")
    code, found = planned(capsys, *words)
    assert code == 0 and found["known_by"] == "compiler" and found["code_bytes"] > 0
    assert found["peak_bytes"] == found["argument_bytes"] + found["temporary_bytes"] + found["code_bytes"]
    assert {each["kind"] for each in found["collectives"]} >= {"all-gather"}
    assert all(each["axes"] == ["fsdp"] for each in found["collectives"])
    assert any(each["name"].startswith("jit(train_step)/") for each in found["largest_buffers"])
    assert found["largest_batch"] is None


@needs_libtpu
@pytest.mark.tpu_memory
def test_what_is_too_large_is_told_with_what_fits(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        *LARGE,
        "--topology=v5e:8x8",
        "--config.train.batch_size=2048",
        "--config.train.reduce_dtype=bfloat16",
    )
    code, found = planned(capsys, *words)
    assert code == 1 and found["peak_bytes"] > found["hbm_bytes"]
    assert 1024 <= found["largest_batch"] < 2048 and found["next_batch"] == found["largest_batch"] + 64
    fits = [each["flags"] for each in found["changes"] if each["fits"]]
    assert "--config.train.accumulate=2" in fits
    assert (
        found["largest_buffers"][0]["bytes"] == 2048 // 64 * 2048 * 4096 * 2 * 32
    )  # the input of each layer
