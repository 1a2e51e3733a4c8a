"""Every door: what it imports before flags are read, its help, its exit codes, and output that is cut off."""

import os
import re
import signal
import subprocess
import sys

import pytest

from im_jax import __main__ as overview
from im_jax.command_line import help, runner
from im_jax.config import Config, records
from im_jax.errors import ConfigError, StorageError
from tests.conftest import REPOSITORY

SLOW = ("jax", "flax", "optax", "orbax", "grain", "matplotlib", "tensorflow_datasets")
each_command = pytest.mark.parametrize("command", overview.COMMANDS)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def imported(program: str) -> set[str]:
    """Which slow packages a program has imported at its end."""
    code = f"{program}\nimport sys\nprint('slow:', *({SLOW} & sys.modules.keys()))".replace(
        str(SLOW), repr(set(SLOW))
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@each_command
def test_nothing_slow_is_imported_before_flags_are_read(command: str) -> None:
    assert imported(f"import {overview.COMMANDS[command]}") == set()


@pytest.mark.parametrize("module", ["im_jax.config", "im_jax.command_line", "im_jax.validation", "im_jax"])
def test_the_ground_of_commands_imports_nothing_slow(module: str) -> None:
    assert imported(f"import {module}") == set()


@pytest.mark.parametrize("name", ["cpu_debug", "llama2_7b", "rewrites/cpu"])
def test_a_configuration_is_read_and_checked_without_anything_slow(name: str) -> None:
    words = ["train", f"--config=configs/{name}.py", "--config.optimizer.clip_norm=none"]
    assert imported(f"import im_jax.train\nim_jax.train.run.parse({words})") == set()


@each_command
def test_each_command_says_what_it_does_and_is_in_the_overview(command: str) -> None:
    module = overview.COMMANDS[command].removesuffix(".__main__")
    done = run(module, "--help", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    described = re.search(rf"{command} (.*?\.) ", " ".join(overview.overview().split()))
    assert described is not None and text.startswith(described[1])
    own = [line for line in done.stdout.splitlines() if not line.startswith("    ")]
    assert max(map(len, own)) <= 80, "only what is to be copied is wider than the terminal"
    assert run("im_jax", command, "-h", COLUMNS="80").stdout == done.stdout


def test_help_of_a_command_has_its_flags_and_every_group_but_no_field() -> None:
    text = run("im_jax.train", "--help").stdout
    assert "--workdir=TEXT" in text and "--config=FILE" in text
    for group in {record.group for record in records(Config).values()} - {""}:
        assert f"\n  {group} " in text
    assert "--config.data.source" not in text
    assert len(text.splitlines()) < 45


def test_help_of_a_group_has_its_fields_and_no_other() -> None:
    text = run("im_jax.sweep", "--help=data.rewrites").stdout
    shown = re.findall(r"^--config\.([\w.]+)=", text, re.MULTILINE)
    assert shown == [name for name in records(Config) if name.startswith("data.rewrites.")]
    assert "    free, repeated, periodic, mirrored" in text.replace("some of ", "")
    assert re.findall(r"^--config\.([\w.]+)=", help.of_fields("all"), re.MULTILINE) == list(records(Config))


def test_help_of_what_is_no_group_names_those_there_are() -> None:
    done = run("im_jax.train", "--help=optimiser")
    assert done.returncode == 2
    assert (
        "--help=optimiser: there is no such group; did you mean optimizer?; groups are data," in done.stderr
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("im_jax", "trian"), 2, "error: 'trian' is no command; did you mean train?; commands are train, generate,"),
        (("im_jax.train",), 2, "error: no configuration given; set --config=FILE"),
        (("im_jax.train", "--config=configs/sweeps/im_and_it.py"), 2, "error: configs/sweeps/im_and_it.py is a sweep; run it with: python -m im_jax.sweep --config="),
        (("im_jax.inspect_loss", "--config=configs/cpu_debug.py", "--formt=html"), 2, "error: Unknown command line flag 'formt'"),
        (("im_jax.generate", "--config=configs/cpu_debug.py", "--mode=caht"), 2, "error: flag --mode=caht: value should be one of <chat|text>"),
        (("im_jax.sweep",), 2, "error: no sweep given; set --config=FILE"),
        (("im_jax.markov", "--input=a"), 2, "error: no program given; set --program=FILE"),
        (("im_jax.bench", "atention"), 2, "error: which benchmark? 'atention' is none"),
        (("im_jax.data.builders.instruction_jsonl", "--path=a.jsonl"), 2, "error: --data_dir is not given; set --data_dir=DIR"),
        (("im_jax.data.builders.instruction_jsonl", "--path=a", "--data_dir=b", "--split=all=c"), 2, "error: --split=all=c: must be a new NAME=FILE"),
    ],
)  # fmt: skip
def test_mistakes_in_flags_are_one_line_and_their_exit_code(
    words: tuple[str, ...], code: int, message: str
) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_overview_is_shown_without_a_command_and_the_version_on_request() -> None:
    assert run("im_jax").stdout.rstrip() == overview.overview() == run("im_jax", "--help").stdout.rstrip()
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("im_jax", "--version").stdout)


def stop(error: BaseException) -> int:
    def work() -> int:
        raise error

    return runner.exit_code(work)


def test_exit_codes_tell_how_a_command_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.exit_code(lambda: None) == 0
    assert runner.exit_code(lambda: 3) == 3
    assert stop(ConfigError("two\nlines")) == 2
    assert stop(StorageError("full")) == 1
    assert stop(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "error: two lines\nerror: full\n"
    with pytest.raises(ZeroDivisionError):
        stop(ZeroDivisionError())


def test_details_of_an_error_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    stop(ConfigError("these differ:", "a=1,\n not 2", "b=\x1b[3m"))
    assert capsys.readouterr().err == "error: these differ:\n  a=1, not 2\n  b=\\x1b[3m\n"


CUT = """
import sys
from im_jax.command_line import runner
from im_jax.console import Console, print_text
def work():
    {show}
runner.run(work)
"""


@pytest.mark.parametrize(
    "show",
    [
        "print_text('x' * 100_000)",
        "Console().print('x' * 100_000)",
        "sys.stdout.write('x')",  # stays in the buffer until the end
    ],
)
def test_output_that_nobody_reads_ends_a_command_quietly(show: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", CUT.format(show=show)],
        cwd=REPOSITORY,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_needs_no_unicode() -> None:
    done = run("im_jax.train", "--help=all", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


INTERRUPTED = """
import os, signal, sys
from im_jax import generate
class Slow:  # stands for the slow imports of a command: Ctrl-C arrives while one of them goes on
    def find_spec(self, name, *_):
        if name == "jax":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Slow())
generate.run(["generate", "--config=configs/cpu_debug.py", "--prompt=x"])
"""


def test_control_c_during_imports_shows_no_traceback() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stderr) == (130, "")
