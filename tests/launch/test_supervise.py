"""`launch/tpu.sh supervise`: what is taken away comes back, what is wrong is given up, and each is counted as what it is."""

import os
import re
import signal
import time

import pytest

from tests.launch.cloud import V5E, WHERE, Cloud

COMMAND = ["--", "bash", "worker.sh", "--workdir=gs://a b/$(run)"]


def supervise(cloud: Cloud, *options: str, code: int = 0) -> list[str]:
    """What it says, without times."""
    out, _ = cloud.tpu("supervise", "--poll=0", "--retry_pause=0", *options, *COMMAND, code=code)
    return [line.split(" ", 1)[1] for line in out.splitlines()]


def counts(lines: list[str]) -> tuple[int, ...]:
    """Preemptions, failures, replacements."""
    found = re.fullmatch(r"preemptions: (\d+), failures: (\d+), replacements: (\d+)", lines[-1])
    assert found is not None, lines
    return tuple(map(int, found.groups()))


def runs_of(cloud: Cloud) -> list[str]:
    """The commands that the first host was given, one an attempt."""
    commands = [
        word for call in cloud.calls("ssh", "--worker=0") for word in call if word.startswith("--command=")
    ]
    return [word for word in commands if "im_jax_host.sh run" in word]


def test_what_is_preempted_is_rented_again_and_resumes_the_same_command(cloud: Cloud) -> None:
    cloud.does(run_1_0="0 0 0", run_1_1="preempt preempt 0")
    lines = supervise(cloud, "--provisioning=spot")
    assert lines.count("preempted: preempted the queued resource is SUSPENDED") == 2
    assert lines[-2] == "done: on all hosts" and counts(lines) == (2, 0, 0)
    created = cloud.calls("create")
    assert len(created) == 3 and created[0] == created[1] == created[2]
    assert len(cloud.calls("queued-resources", "delete")) == 2
    commands = runs_of(cloud)
    assert len(commands) == 3 and len(set(commands)) == 1


def test_a_preempted_instance_group_is_made_again(cloud: Cloud) -> None:
    cloud.does(run_1_0000="0 0", run_1_0001="preempt 0")
    where = [*WHERE, "--topology=tpu7x:2x2x2", "--provisioning=spot"]
    out, _ = cloud.run("tpu.sh", "supervise", *where, "--poll=0", *COMMAND)
    assert "preempted: preempted run-1-0001 is STOPPED" in out
    assert out.splitlines()[-1].endswith("preemptions: 1, failures: 0, replacements: 0")
    for kind in ("instance-groups", "instance-templates", "resource-policies"):
        assert len(cloud.calls(kind, "create")) == 2 and len(cloud.calls(kind, "delete")) == 1


def test_a_mistake_in_the_configuration_ends_it_at_once(cloud: Cloud) -> None:
    cloud.does(run_1_0="save", run_1_1="2")
    lines = supervise(cloud, "--when_done=delete", code=2)
    assert lines[-2] == "configuration: run-1:1 ended with 2: attempt on run-1-1: 2"
    assert counts(lines) == (0, 0, 0)
    assert len(runs_of(cloud)) == 1
    assert (cloud.path / "saved-run-1-0").exists() or not (cloud.path / "up-run-1-0").exists()
    assert cloud.tpu("status")[0] == "run-1: absent\n"


def test_failures_are_counted_apart_and_end_it(cloud: Cloud) -> None:
    cloud.does(run_1_0="42 1 1 1", run_1_1="42 1 1 1")
    lines = supervise(cloud, "--max_failures=2", code=1)
    assert lines.count("failed: run-1:0 ended with 1: attempt on run-1-0: 1") == 3
    assert counts(lines) == (1, 3, 0)
    assert len(cloud.calls("create")) == 1  # the machines were all right


def test_a_lost_peer_is_no_failure_of_the_run(cloud: Cloud) -> None:
    cloud.does(run_1_0="43 134 0", run_1_1="42 43 0")
    lines = supervise(cloud, "--max_failures=0")
    assert counts(lines) == (2, 0, 0)
    assert "preempted: saved: run-1:1, a peer was lost: run-1:0, started anew: none" in lines


def test_an_abort_on_all_hosts_is_a_failure(cloud: Cloud) -> None:
    cloud.does(run_1_0="134", run_1_1="134")
    assert counts(supervise(cloud, "--max_failures=0", code=1)) == (0, 1, 0)


def test_a_bad_node_is_replaced_and_nothing_else_counted(cloud: Cloud) -> None:
    cloud.does(run_1_0="save 0", run_1_1="bad 0")
    lines = supervise(cloud, "--max_failures=0")
    assert "replace: run-1:1 cannot open its TPU" in lines
    assert counts(lines) == (0, 0, 1) and len(cloud.calls("create")) == 2


def test_a_node_that_crashes_again_and_again_is_replaced(cloud: Cloud) -> None:
    cloud.does(run_1_0="139 139 0", run_1_1="139 0 0")
    lines = supervise(cloud)
    assert "replace: run-1:0 ended with 139 twice in a row" in lines
    assert counts(lines) == (0, 1, 1)


def test_a_host_that_does_not_answer_is_replaced(cloud: Cloud) -> None:
    cloud.does(run_1_0="wait 0", run_1_1="dead 0")
    lines = supervise(cloud, "--max_silence=2", "--max_failures=0")
    assert "replace: no answer from run-1:1" in lines
    assert counts(lines) == (0, 0, 1)


@pytest.mark.parametrize(
    ("refused", "said"), [("describe", "UNAVAILABLE: no route"), (" ssh ", "no host answers")]
)
def test_a_supervisor_that_is_cut_off_waits_and_takes_nothing_down(
    cloud: Cloud, refused: str, said: str
) -> None:
    cloud.does(run_1_0="offline", run_1_1="0")
    command = ["--", "bash", "worker.sh", refused]
    process = cloud.start("tpu.sh", "supervise", *V5E, "--poll=0", "--max_silence=2", *command)
    assert process.stdout is not None
    line = ""
    while said not in line:
        line = process.stdout.readline()
        assert line
    looks = len(cloud.calls())
    end = time.monotonic() + 60
    while len(cloud.calls()) < looks + 20:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    cloud.plan()
    (cloud.path / "online").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert "preemptions: 0, failures: 0, replacements: 0" in out
    assert not cloud.calls("delete") and len(cloud.calls("create")) == 1


def test_a_machine_that_was_made_anew_is_no_failure_of_the_run(cloud: Cloud) -> None:
    cloud.does(run_1_0="43 0", run_1_1="anew 0")
    assert counts(supervise(cloud, "--max_failures=0")) == (1, 0, 0)


def test_a_host_that_stays_behind_is_ended_and_counts_as_a_failure(cloud: Cloud) -> None:
    cloud.does(run_1_0="0 0", run_1_1="wait 0")
    lines = supervise(cloud, "--grace=0")
    assert "failed: ended on run-1:0, but not on run-1:1 " in lines
    assert counts(lines) == (0, 1, 0)


def test_slices_that_are_not_to_be_had_are_asked_for_again(cloud: Cloud) -> None:
    cloud.plan(creations=[["FAILED"], ["FAILED"], ["ACTIVE"]])
    cloud.does(run_1_0="0", run_1_1="0")
    assert counts(supervise(cloud)) == (0, 0, 2)
    cloud.tpu("delete")
    cloud.plan(creations=[["FAILED"]])
    assert counts(supervise(cloud, "--max_replacements=1", code=1)) == (0, 0, 2)


def test_a_refused_request_is_given_up_at_once(cloud: Cloud) -> None:
    cloud.plan(refused={"queued-resources create": {"message": "PERMISSION_DENIED: quota"}})
    lines = supervise(cloud, code=1)
    assert lines[-2] == "given_up: the slices are refused" and counts(lines) == (0, 0, 0)


def test_an_installation_that_fails_everywhere_is_a_failure_and_on_one_host_a_bad_node(cloud: Cloud) -> None:
    cloud.does(run_1_0="0", run_1_1="0")
    for host in ("run-1-0", "run-1-1"):
        (cloud.path / f"no_install_{host}").touch()
    assert counts(supervise(cloud, "--max_failures=1", code=1)) == (0, 2, 0)
    (cloud.path / "no_install_run-1-0").unlink()
    assert counts(supervise(cloud, "--max_replacements=0", code=1)) == (0, 0, 1)


def test_a_run_that_goes_on_already_is_watched(cloud: Cloud) -> None:
    """The supervisor may be interrupted and started again; the run notices nothing."""
    cloud.does(run_1_0="save 0", run_1_1="save 0")
    first = cloud.start("tpu.sh", "supervise", *V5E, "--poll=0", *COMMAND)
    end = time.monotonic() + 60
    while any(len(list(cloud.path.glob(files))) < 2 for files in ("up-*", "hosts/*/im_jax/run/pid")):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 130 and "the run goes on" in out

    _, err = cloud.tpu("supervise", "--poll=0", "--", "another", "command", code=2)
    assert err.startswith("error: another run is going on there; stop it first: bash worker.sh ")
    second = cloud.start("tpu.sh", "supervise", *V5E, "--poll=0", *COMMAND)
    assert second.stdout is not None
    said = ""
    while "watching" not in said:
        said = second.stdout.readline()
        assert said
    cloud.tpu("stop")  # saves, with 42: so that it is started again, and ends
    assert second.wait(timeout=60) == 0
    assert len(runs_of(cloud)) == 2


def test_a_dry_run_rents_nothing(cloud: Cloud) -> None:
    out, _ = cloud.tpu("supervise", "--dry_run", *COMMAND)
    assert out.count("queued-resources create") == 1 and out.count("im_jax_host.sh\\ run") == 1
    assert not cloud.calls()
