"""`launch/tpu.sh`: what it asks of gcloud, and what it does on hosts, which are folders of a stand-in cloud."""

import os
import shlex
import signal
import time
from pathlib import Path

import pytest

from tests.launch.cloud import V5E, WHERE, Cloud

RUN = ["--", "bash", "worker.sh"]
FLAGS = ["--project=my-project", "--zone=us-west4-a"]


def until(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} is not there after a minute"
        time.sleep(0.02)


def rented(cloud: Cloud, *does: str) -> None:
    """Slices with two hosts, of which each does what is said."""
    cloud.tpu("create", "--poll=0")
    cloud.tpu("start", "--retry_pause=0")
    cloud.does(run_1_0=does[0], run_1_1=does[-1])


def test_create_asks_for_a_queued_resource_and_waits(cloud: Cloud) -> None:
    cloud.plan(creations=[["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]])
    out, _ = cloud.tpu("create", "--poll=0", "--provisioning=spot", "--valid_until=6h", "--labels=team=a")
    (call,) = cloud.calls("create")
    assert call == [
        *["compute", "tpus", "queued-resources", "create", "run-1", *FLAGS, "--accelerator-type=v5litepod-8"],
        *["--runtime-version=v2-alpha-tpuv5-lite", "--node-id=run-1", "--spot", "--valid-until-duration=6h"],
        *["--labels=team=a", "--quiet"],
    ]
    assert [line.split(" ", 2)[2] for line in out.splitlines()] == [
        "waiting the queued resource is WAITING_FOR_RESOURCES",
        "waiting the queued resource is PROVISIONING",
        "ready",
    ]


@pytest.mark.parametrize(
    ("topology", "flags"),
    [
        ("v4:2x2x4", ["--type=v4", "--topology=2x2x4", "--runtime-version=tpu-ubuntu2204-base"]),
        ("v5p:2x2x4", ["--accelerator-type=v5p-32", "--runtime-version=v2-alpha-tpuv5"]),
        ("v6e:16x16", ["--accelerator-type=v6e-256", "--runtime-version=v2-alpha-tpuv6e"]),
    ],
)
def test_slices_are_named_as_each_generation_counts(cloud: Cloud, topology: str, flags: list[str]) -> None:
    cloud.run(
        "tpu.sh", "create", *WHERE, f"--topology={topology}", "--num_slices=2", "--provisioning=reserved"
    )
    (call,) = cloud.calls("create")
    assert call == [
        *["compute", "tpus", "queued-resources", "create", "run-1", *FLAGS, *flags],
        *["--node-count=2", "--node-prefix=run-1", "--reserved", "--quiet"],
    ]


def test_slices_that_are_not_to_be_had_say_why(cloud: Cloud) -> None:
    cloud.plan(creations=[["WAITING_FOR_RESOURCES", "FAILED"]])
    out, _ = cloud.tpu("create", "--poll=0", code=1)
    assert out.splitlines()[-1].endswith("run-1: failed There is no more capacity in the zone")
    _, err = cloud.tpu("create", code=2)
    assert "--name=run-1 is there already (failed There is no more capacity in the zone); delete it" in err


def test_a_cloud_that_cannot_be_asked_is_not_taken_for_an_empty_one(cloud: Cloud) -> None:
    cloud.plan(refused={"describe": {"message": "PERMISSION_DENIED: tpu.nodes.get"}})
    _, err = cloud.tpu("create", code=1)
    assert err == "error: ERROR: PERMISSION_DENIED: tpu.nodes.get \n"
    assert not cloud.calls("create")


def test_tpu7x_is_a_group_of_instances(cloud: Cloud) -> None:
    where = [*WHERE, "--topology=tpu7x:2x2x2", "--num_slices=2"]
    cloud.run("tpu.sh", "create", *where, "--provisioning=spot", "--poll=0")
    policy, template, first, second = cloud.calls("create")
    assert policy == [
        *["compute", "resource-policies", "create", "workload-policy", "run-1", "--project=my-project"],
        *["--region=us-west4", "--type=HIGH_THROUGHPUT", "--accelerator-topology=2x2x2", "--quiet"],
    ]
    assert template[:4] == ["compute", "instance-templates", "create", "run-1"]
    assert {
        "--machine-type=tpu7x-standard-4t",
        "--provisioning-model=SPOT",
        "--maintenance-policy=TERMINATE",
    } < {*template}
    for group, call in (("run-1-0", first), ("run-1-1", second)):
        assert call == [
            *[
                "compute",
                "instance-groups",
                "managed",
                "create",
                group,
                *FLAGS,
                "--template=run-1",
                "--size=2",
            ],
            "--default-action-on-vm-failure=do-nothing",
            "--workload-policy=projects/my-project/regions/us-west4/resourcePolicies/run-1",
            "--quiet",
        ]

    cloud.run("tpu.sh", "start", *where)
    cloud.run(
        "tpu.sh", "run", *where, "--", "sh", "-c", "echo slice $MEGASCALE_SLICE_ID of $MEGASCALE_NUM_SLICES"
    )
    out, _ = cloud.run("tpu.sh", "logs", *where, "--host=all")
    said = {line.split(": ")[0]: line.split(": ")[1] for line in out.splitlines() if ": slice" in line}
    assert said == {f"run-1-{at}-000{host}": f"slice {at} of 2" for at in range(2) for host in range(2)}
    cloud.run("tpu.sh", "delete", *where)
    assert not list(cloud.path.glob("group-*"))
    cloud.run("tpu.sh", "delete", *where)  # nothing is left, which is what was asked for


def test_a_reservation_is_named_in_the_template_of_tpu7x(cloud: Cloud) -> None:
    where = [*WHERE, "--topology=tpu7x:2x2x1", "--provisioning=reserved"]
    _, err = cloud.run("tpu.sh", "create", *where, code=2)
    assert err == "error: --reservation is missing: reserved slices of tpu7x are of a reservation\n"
    cloud.run("tpu.sh", "create", *where, "--reservation=ours", "--address=internal", "--ssh=iap")
    (template,) = cloud.calls("instance-templates", "create")
    assert {"--reservation-affinity=specific", "--reservation=ours", "--no-address"} < {*template}
    assert not cloud.calls("resource-policies")  # one host needs none


def test_the_code_as_it_is_comes_to_all_hosts(cloud: Cloud) -> None:
    (cloud.repository / "worker.sh").write_text("changed")
    (cloud.repository / "new.txt").write_text("untracked")
    cloud.tpu("create")
    out, err = cloud.tpu("start")
    assert out.endswith("installed on 2 hosts\n")
    assert err == "not copied: 1 files that git does not track; git add them\n"
    for host in ("run-1-0", "run-1-1"):
        code = cloud.path / "hosts" / host / "im_jax" / "code"
        assert (code / "worker.sh").read_text() == "changed" and not (code / "new.txt").exists()
    cloud.tpu("start", "--ref=HEAD")
    assert "attempt" in (code / "worker.sh").read_text()
    _, err = cloud.tpu("start", "--ref=nowhere", code=2)
    assert err == "error: --ref=nowhere is no commit here\n"


def test_a_host_where_installing_fails_is_named(cloud: Cloud) -> None:
    cloud.tpu("create")
    (cloud.path / "no_install_run-1-1").touch()
    _, err = cloud.tpu("start", code=1)
    assert err.startswith("error: run-1:1: exit code 1: ") and "run-1:0" not in err


def test_a_host_with_an_old_python_gets_another(cloud: Cloud) -> None:
    cloud.plan(workers=1, bare=True)
    for name in ("python3.11", "python3.12", "python3.13"):
        cloud.program(name, "exit 127")
    cloud.program("python3", 'echo "$@" >> "$CLOUD/python"; [ "$1" != -c ]')
    cloud.tpu("create")
    cloud.tpu("start", "--extras=tpu,wandb")
    _, *asked = (cloud.path / "python").read_text().splitlines()
    venv = cloud.path / "hosts" / "run-1-0" / "im_jax" / "venv"
    assert asked == ["-m pip install --quiet --user uv", f"-m uv venv --quiet --seed --python 3.12 {venv}"]


def test_the_health_of_a_node_is_shown(cloud: Cloud) -> None:
    cloud.plan(nodes={"run-1": "READY\tUNHEALTHY_TPU"})
    cloud.tpu("create")
    assert cloud.tpu("status")[0] == "run-1: ready run-1 is UNHEALTHY_TPU\nrun-1:0\tnone\nrun-1:1\tnone\n"
    _, err = cloud.tpu("run", *RUN, code=1)
    assert "error: run-1:0: exit code 127: " in err and "nothing of im_jax is there: start comes first" in err


def test_words_of_a_command_arrive_as_they_are(cloud: Cloud) -> None:
    words = ["two  spaces", "$(touch evil)", "`id`", "it's", '"', "a\nb", "*", "-n", "", "ü", ";&|<>\\"]
    cloud.tpu("create")
    cloud.tpu("start")
    cloud.tpu("run", "--", "bash", "-c", 'printf "%s\\0" "$@" > "$HOME/words"', "x", *words)
    cloud.tpu("logs")
    for host in ("run-1-0", "run-1-1"):
        assert (cloud.path / "hosts" / host / "words").read_text().split("\0") == [*words, ""]


def test_a_run_goes_on_by_itself_saves_when_stopped_and_keeps_its_code(cloud: Cloud) -> None:
    rented(cloud, "save")
    out, _ = cloud.tpu("run", *RUN)
    assert "running on 2 hosts" in out
    for host in ("run-1-0", "run-1-1"):
        until(cloud.path / f"up-{host}")
    lines = cloud.tpu("status")[0].splitlines()
    assert lines[0] == "run-1: ready"
    assert [line.split("\t")[0] for line in lines[1:]] == ["run-1:0", "run-1:1"]
    assert all(line.split("\t")[1].startswith("running ") for line in lines[1:])
    _, err = cloud.tpu("run", *RUN, code=1)
    assert "a run is going on here (process " in err
    _, err = cloud.tpu("start", code=1)
    assert "its code cannot change under it; stop it first" in err

    cloud.tpu("stop")
    assert [line.split("\t")[1:] for line in cloud.tpu("status")[0].splitlines()[1:]] == [
        ["ended 42", f"attempt on run-1-{worker}: save"] for worker in range(2)
    ]
    assert (cloud.path / "saved-run-1-0").read_text() == "saved\n"


def test_a_machine_that_is_shut_down_sends_one_signal_to_the_run(cloud: Cloud) -> None:
    rented(cloud, "save", "0")
    cloud.tpu("run", *RUN)
    until(cloud.path / "up-run-1-0")
    run = cloud.path / "hosts" / "run-1-0" / "im_jax" / "run"
    pid = int((run / "pid").read_text())
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for process in (parent, pid):  # to all processes, as systemd does
        os.kill(process, signal.SIGTERM)
    until(run / "exit_code")
    assert (run / "exit_code").read_text() == "42\n"
    assert (cloud.path / "saved-run-1-0").read_text() == "saved\n"


def test_what_does_not_end_is_killed_and_named(cloud: Cloud) -> None:
    rented(cloud, "deaf", "save")
    cloud.tpu("run", *RUN)
    until(cloud.path / "up-run-1-1")
    _, err = cloud.tpu("stop", "--grace=1", code=1)
    assert err == "error: run-1:0: exit code 1: killed after 1 seconds\n"


def test_a_host_that_cannot_start_stops_the_others(cloud: Cloud) -> None:
    rented(cloud, "save", "0")
    (cloud.path / "hosts" / "run-1-1" / "im_jax" / "code").rename(cloud.path / "gone")
    _, err = cloud.tpu("run", *RUN, code=1)
    assert "error: run-1:1: exit code 1: error:" in err and "no code is here; start comes before run" in err
    status = cloud.tpu("status")[0].splitlines()
    assert status[1].startswith("run-1:0\tended ") and status[2] == "run-1:1\tnone"


def test_a_machine_that_was_started_anew_has_lost_its_run(cloud: Cloud) -> None:
    rented(cloud, "0")
    cloud.tpu("run", *RUN)
    cloud.tpu("logs", "--host=all")
    run = cloud.path / "hosts" / "run-1-0" / "im_jax" / "run"
    (run / "exit_code").unlink()
    (run / "pid").write_text(str(os.getpid()))  # a number that another process has by now
    (run / "boot").write_text("another")
    assert cloud.tpu("status")[0].splitlines()[1].startswith("run-1:0\tlost\t")


def test_logs_show_one_host_or_all_and_end_with_the_run(cloud: Cloud) -> None:
    rented(cloud, "0", "3")
    cloud.tpu("run", *RUN)
    out, _ = cloud.tpu("logs", "--host=1")
    assert "attempt on run-1-1: 3" in out and "run-1-0" not in out
    out, _ = cloud.tpu("logs", "--host=all", "--lines=1")
    assert sorted(line.partition("===")[0] for line in out.splitlines()) == ["run-1:0: ", "run-1:1: "]
    _, err = cloud.tpu("logs", "--host=2", code=2)
    assert err == "error: --host=2: there are 2, counted from 0\n"


def test_logs_and_workdir_are_fetched(cloud: Cloud, tmp_path: Path) -> None:
    rented(cloud, "0")
    cloud.tpu("run", *RUN)
    cloud.tpu("logs", "--host=all")
    cloud.tpu("fetch", f"--output={tmp_path}/a b", "--workdir=im_jax/code")
    assert sorted(path.name for path in (tmp_path / "a b" / "logs").iterdir()) == [
        "run-1-0.txt",
        "run-1-1.txt",
    ]
    assert (tmp_path / "a b" / "workdir" / "worker.sh").exists()
    cloud.tpu("fetch", f"--output={tmp_path}/c", "--workdir=gs://bucket/run")
    assert (tmp_path / "c" / "workdir" / "from.txt").read_text() == "gs://bucket/run"


def test_a_dry_run_prints_what_a_run_does_and_runs_nothing(cloud: Cloud) -> None:
    wanted = []
    for command in (
        ["create"],
        ["start"],
        ["run", "--", "python", "a b", "$(c)"],
        ["status"],
        ["stop"],
        ["delete"],
    ):
        out, _ = cloud.run("tpu.sh", command[0], *V5E, "--dry_run", *command[1:])
        lines = [shlex.split(line) for line in out.splitlines()]
        wanted += [line[1:] for line in lines if line[0] == "gcloud"]
    assert not cloud.calls()
    assert not list(cloud.path.glob("hosts"))

    cloud.plan(workers=1)
    cloud.tpu("create")
    cloud.tpu("start")
    cloud.tpu("run", "--", "python", "a b", "$(c)")
    for command in ("status", "stop", "delete"):
        cloud.tpu(command)

    def without_scratch(calls: list[list[str]]) -> list[list[str]]:
        """Each once: looking at a state is repeated."""
        kept = [
            [word.rpartition("/im_jax_")[2] if "/im_jax_" in word else word for word in call]
            for call in calls
        ]
        return [call for at, call in enumerate(kept) if call not in kept[:at]]

    printed, called = without_scratch(wanted), without_scratch(cloud.calls())
    assert all(call in called for call in printed)
    # What is asked once something is there: the state of a node.
    assert [call for call in called if call not in printed] == [
        ["compute", "tpus", "tpu-vm", "describe", "run-1", *FLAGS, "--format=value(state,health)"]
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--zone=us-west4-a"], "--name is missing: what the slices are called, as in --name=run-1"),
        (["status", "--name=a", "--topology=v5e:2x4", "--zone=us-west4-a"], "--project is missing: the Google Cloud project that pays; or set CLOUDSDK_CORE_PROJECT"),
        (["status", "--name=a", "--project=p", "--topology=v5e:2x4"], "--zone is missing: where the TPUs are, as in us-west4-a; or set CLOUDSDK_COMPUTE_ZONE"),
        (["status", *WHERE], "--topology is missing: the slice, such as v5e:8x8 or v5p:2x2x4"),
        (["status", *WHERE, "--topology=v5e-64"], "--topology=v5e-64: write a generation and, behind a colon, its chips along each axis, as in v5e:8x8"),
        (["status", *WHERE, "--topology=v5e:32x32"], "--topology=v5e:32x32: slices of v5e are 1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16"),
        (["status", *WHERE, "--topology=v9:2x2"], "--topology=v9:2x2: no TPU is called v9; write v4, v5e, v5p, v6e or tpu7x"),
        (["status", *V5E, "--name=$(touch evil)"], "--name=$(touch evil) must be small letters, digits and hyphens, with a letter first, 49 at most"),
        (["status", *V5E, "--zone=a b"], "--zone=a b is no zone, as us-west4-a is"),
        (["create", *V5E, "--provisioning=cheap"], "--provisioning=cheap must be one of: on_demand spot reserved"),
        (["create", *V5E, "--num_slices=two"], "--num_slices=two is not a whole number"),
        (["create", *V5E, "--reservation=r"], "--reservation is for tpu7x; a queued resource takes what the project has reserved in its zone"),
        (["create", *V5E, "--address=internal"], "--address=internal: such machines are reached by --ssh=internal or --ssh=iap"),
        (["create", *V5E, "--spot"], "--spot is no option here; --help shows them"),
        (["create", *V5E, "--poll"], "--poll needs a value: --poll=VALUE"),
        (["run", *V5E], "no command to run: write it behind --, as in -- python -m im_jax.train ..."),
        (["run", *V5E, "python"], "python is no option; options are written --name=VALUE, and a command stands behind --"),
        (["fetch", *V5E], "--output is missing: the directory to copy to"),
        (["rent"], "rent is no command; these are: create start run logs status fetch stop delete supervise"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_ask_nothing_of_the_cloud(
    empty_cloud: Cloud, arguments: list[str], message: str
) -> None:
    _, err = empty_cloud.run("tpu.sh", *arguments, code=2)
    assert err == f"error: {message}\n"
    assert not empty_cloud.calls()


def test_options_can_stand_in_the_environment(cloud: Cloud) -> None:
    given = {"IM_JAX_NAME": "run-1", "IM_JAX_TOPOLOGY": "v5e:2x4", "CLOUDSDK_CORE_PROJECT": "my-project"}
    cloud.run("tpu.sh", "create", "--zone=us-west4-a", **given)
    (call,) = cloud.calls("create")
    assert call[4:7] == ["run-1", *FLAGS]


def test_hosts_inside_a_network_are_reached_as_asked(empty_cloud: Cloud) -> None:
    out, _ = empty_cloud.run("tpu.sh", "stop", *V5E, "--ssh=iap", "--dry_run")
    assert "gcloud alpha compute tpus tpu-vm ssh run-1 " in out and "--tunnel-through-iap" in out
    out, _ = empty_cloud.run("tpu.sh", "stop", *V5E, "--ssh=internal", "--dry_run")
    assert "gcloud compute tpus tpu-vm ssh run-1 " in out and "--internal-ip" in out
