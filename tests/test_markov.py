"""The command that runs Markov programs."""
# ruff: noqa: RUF001  (the programs are in their authors' Greek letters)

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax import markov
from im_jax.errors import ConfigError, DataError
from im_jax.studies.rewrites.markov.machine import Halt, Outcome
from tests.conftest import REPOSITORY
from tests.studies.rewrites.markov.markov_programs import APPEND_REVERSED, BINARY_TO_UNARY


@pytest.fixture
def program_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.txt"
    path.write_text(APPEND_REVERSED, encoding="utf-8")
    return path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "im_jax.markov", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command, in this process."""
    code = markov.main(["markov", *arguments])
    return code, capsys.readouterr().out


def test_command_prints_one_json_object(program_file: Path) -> None:
    done = command(f"--program={program_file}", "--input=abb", "--format=json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"text": "abbbba", "steps": 11, "halt": "terminal"}\n'


def test_mistakes_are_one_line_and_exit_code_2(program_file: Path) -> None:
    program_file.write_text("a -> b\nb\n")
    done = command(f"--program={program_file}", "--input=abb")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {program_file}:2: no arrow") and done.stderr.count("\n") == 1


def test_neither_jax_nor_numpy_is_loaded() -> None:
    code = "import sys, im_jax.markov; print({'jax', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_json_keeps_letters_of_any_script_and_has_exactly_its_keys(
    capsys: pytest.CaptureFixture[str], program_file: Path
) -> None:
    code, out = call(capsys, f"--program={program_file}", "--input=дλ", "--step_limit=1", "--format=json")
    assert code == 3
    assert out == '{"text": "αдλ", "steps": 1, "halt": "limit"}\n'


def test_json_trace_has_rule_position_and_text(
    capsys: pytest.CaptureFixture[str], program_file: Path
) -> None:
    code, out = call(capsys, f"--program={program_file}", "--input=", "--trace", "--format=json")
    assert code == 0
    assert json.loads(out) == {
        "text": "",
        "steps": 2,
        "halt": "terminal",
        "trace": [
            {"rule_index": 9, "rule": "-> α", "position": 0, "text": "α"},
            {"rule_index": 8, "rule": "α -> .", "position": 0, "text": ""},
        ],
    }
    _, out = call(
        capsys, f"--program={program_file}", "--input=a", "--step_limit=0", "--trace", "--format=json"
    )
    assert json.loads(out) == {"text": "a", "steps": 0, "halt": "limit", "trace": []}


def test_text_shows_the_result_and_how_the_run_ended(
    capsys: pytest.CaptureFixture[str], program_file: Path
) -> None:
    program = f"--program={program_file}"
    assert call(capsys, program, "--input=abb") == (
        0,
        "abbbba\nterminal after 11 steps: a terminal rule was applied\n",
    )
    assert call(capsys, program, "--input=abb", "--step_limit=1") == (
        3,
        "αabb\nlimit after 1 step: not halted; raise --step_limit to go on\n",
    )
    program_file.write_text("x ->")
    assert call(capsys, program, "--input=x") == (0, '""\nblocked after 1 step: no rule applies\n')
    assert call(capsys, program, "--input= \x1b ")[1].startswith(r'" \u001b "' + "\n")


def test_text_trace_is_a_table(capsys: pytest.CaptureFixture[str], program_file: Path) -> None:
    program_file.write_text(BINARY_TO_UNARY)
    _, out = call(capsys, f"--program={program_file}", "--input=10", "--trace")
    assert out.splitlines() == [
        "step  rule       position  text after",
        "   1  1 -> 0|           0  0|0",
        "   2  |0 -> 0||         1  00||",
        "   3  0 ->              0  0||",
        "   4  0 ->              0  ||",
        "",
        "||",
        "blocked after 4 steps: no rule applies",
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--input=a"], "no program given; set --program=FILE"),
        (["--program=", "--input=a"], "no program given; set --program=FILE"),
        (["--program={file}"], "no input given; set --input=TEXT, or --input= for the empty text"),
        (["--program={file}", "--input=a\udcff"], "--input is not UTF-8 text"),
        (["--program={file}", "--input=a", "--step_limit=-1"], "--step_limit=-1"),
        (["--program={file}", "--input=a", "--step_limit=few"], "--step_limit=few"),
        (["--program={file}", "--input=a", "--format=xml"], "--format=xml"),
        (["--program={file}", "--inptu=a"], "inptu"),
        (["--program={file}", "--input=a", "b"], "unexpected argument 'b'"),
    ],
)
def test_command_lines_that_cannot_work_are_refused(program_file: Path, flags: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        markov.main(["markov", *(flag.replace("{file}", str(program_file)) for flag in flags)])


def test_missing_program_and_outgrown_text_are_told(program_file: Path) -> None:
    with pytest.raises(DataError, match=r"absent.txt cannot be read: No such file"):
        markov.main(["markov", "--program=absent.txt", "--input=a"])
    with pytest.raises(DataError, match="max_characters=5"):
        markov.main(["markov", f"--program={program_file}", "--input=abb", "--max_characters=5"])


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        markov.run(["markov", "--help"])
    out = capsys.readouterr().out
    assert done.value.code == 0 and out.startswith("Run a Markov algorithm")
    for name in markov.Options._fields:
        assert f"\n  --{name}" in out


def test_every_way_to_end_has_an_exit_code_and_a_meaning() -> None:
    for halt in Halt:
        assert halt in markov.EXIT_CODES and halt in markov.as_text(Outcome("", 0, halt))
