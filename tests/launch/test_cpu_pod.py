"""`launch/cpu_pod.sh`: processes that are one cluster, and end together."""

import os
import re
import signal
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.launch.cloud import Cloud

SCRIPT = "cpu_pod.sh"


def test_processes_are_one_cluster_of_all_devices(empty_cloud: Cloud) -> None:
    program = (
        "from im_jax.config import Config\nfrom im_jax.cluster.joining import join_cluster\nimport jax\n"
        "join_cluster(Config())\nprint('devices', jax.device_count(), jax.local_device_count(), jax.process_index())"
    )
    out, _ = empty_cloud.run(
        SCRIPT,
        "--processes=2",
        "--devices=2",
        "--",
        sys.executable,
        "-c",
        program,
        PYTHONPATH=str(REPOSITORY),
    )
    shown = sorted(line for line in out.splitlines() if "] devices" in line)
    assert shown == ["[0] devices 4 2 0", "[1] devices 4 2 1"]


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ("0 0 0", 0),
        ("42 42 42", 42),
        ("42 43 42", 43),
        ("43 7 42", 7),
        ("7 2 43", 2),
        ("wait 7 wait", 7),  # those that are ended for it do not count
        ("43 wait wait", 43),
    ],
)
def test_the_exit_code_is_that_of_the_worst(empty_cloud: Cloud, codes: str, worst: int) -> None:
    # Each waits for the others, so that none is ended before it has shown its own code.
    does = 'set -- $1; shift "$JAX_PROCESS_ID"; [ "$1" = wait ] && exec sleep 1000; sleep 0.5; exit "$1"'
    _, err = empty_cloud.run(
        SCRIPT, "--processes=3", "--grace=1", "--", "bash", "-c", does, "x", codes, code=worst
    )
    for process, code in enumerate(codes.split()):
        said = f"process {process} ended with exit code {143 if code == 'wait' else code}\n" in err
        assert said == (code != "0")


def test_every_line_has_its_process_and_words_arrive_as_they_are(empty_cloud: Cloud) -> None:
    out, _ = empty_cloud.run(SCRIPT, "--", "printf", "%s|\n", "a  b", "$(x)", "'\"")
    assert sorted(out.splitlines()) == sorted(
        f"[{process}] {word}|" for process in "01" for word in ("a  b", "$(x)", "'\"")
    )


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_signal_reaches_each_process_once(empty_cloud: Cloud, name: str) -> None:
    does = f"trap 'echo got; sleep 0.3; exit 42' {name}; echo up; while :; do sleep 0.05; done"
    process = empty_cloud.start(SCRIPT, "--", "bash", "-c", does)
    assert process.stdout is not None
    assert sorted(process.stdout.readline() for _ in range(2)) == ["[0] up\n", "[1] up\n"]
    os.killpg(process.pid, signal.Signals[f"SIG{name}"])  # to the whole group, as a terminal does
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 42
    assert sorted(out.splitlines()) == ["[0] got", "[1] got"]


def test_what_does_not_end_is_killed(empty_cloud: Cloud) -> None:
    does = '[ "$JAX_PROCESS_ID" = 0 ] && { sleep 0.3; exit 5; }; trap "" TERM; sleep 1000 & while :; do sleep 0.1; done'
    _, err = empty_cloud.run(SCRIPT, "--grace=1", "--", "bash", "-c", does, code=5)
    assert "process 1 ended with exit code 137\n" in err


def test_a_dry_run_prints_the_command_of_each_process(empty_cloud: Cloud) -> None:
    out, _ = empty_cloud.run(SCRIPT, "--processes=2", "--devices=3", "--config.train.steps=4", "--dry_run")
    lines = out.splitlines()
    assert len(lines) == 2
    for process, line in enumerate(lines):
        assert re.search(
            rf"^env PYTHONUNBUFFERED=1 JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=3 JAX_COORDINATOR_ADDRESS=127\.0\.0\.1:\d+ IM_JAX_ROLL_CALL_PORT=\d+ "
            rf"JAX_NUM_PROCESSES=2 JAX_PROCESS_ID={process} \S+/python -m im_jax\.train --config=\S+/configs/cpu_debug\.py "
            rf"--workdir=runs/cpu_pod-\d+-\d+ --config\.train\.steps=4$",
            line,
        ), line


def test_mistakes_are_one_line(empty_cloud: Cloud) -> None:
    _, err = empty_cloud.run(SCRIPT, "--processes=0", code=2)
    assert err == "error: --processes=0 must be 1 or more\n"
    _, err = empty_cloud.run(SCRIPT, "--config.train.steps=4", "--", "true", code=2)
    assert err == "error: --config.train.steps=4 is a flag of training, and another command is given\n"
