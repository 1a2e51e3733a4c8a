"""A Slurm of this machine alone, as Debian's package `slurm-wlm` has it: a controller, a node, and munge between them."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# A job that goes back into the queue waits until its old credential has run out: ten seconds here, by default 120.
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={path}/munge.socket,cred_expire=10
StateSaveLocation={path}/state
SlurmdSpoolDir={path}/spool
SlurmctldPidFile={path}/slurmctld.pid
SlurmdPidFile={path}/slurmd.pid
SlurmctldLogFile={path}/slurmctld.log
SlurmdLogFile={path}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=5
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def install() -> None:
    """Slurm where it is not: by Debian's packages, as root; else the tests are skipped."""
    if all(map(shutil.which, PROGRAMS)):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("Slurm is not installed, and cannot be by apt-get as root: it needs slurm-wlm and munge")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        subprocess.run(["apt-get", *words], env=environment, check=True, capture_output=True)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


@contextlib.contextmanager
def running(path: Path) -> Iterator[dict[str, str]]:
    """Starts them in a directory; gives the variables that Slurm's commands need, and ends them."""
    if os.geteuid() != 0:
        pytest.skip("a Slurm of its own needs root")
    for name in ("state", "spool"):
        (path / name).mkdir()
    (path / "key").write_bytes(os.urandom(1024))
    (path / "key").chmod(0o600)
    conf = path / "slurm.conf"
    conf.write_text(CONF.format(path=path, host=socket.gethostname().split(".")[0], ports=free_ports(2)))
    variables = {"SLURM_CONF": str(conf)}
    files = {name: f"{path}/{file}" for name, file in (("key-file", "key"), ("socket", "munge.socket"))}
    files |= {name: f"{path}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")}
    programs = [["munged", "--force", "--foreground", *(f"--{name}={file}" for name, file in files.items())]]
    programs += [["slurmctld", "-D"], ["slurmd", "-D"]]
    started = []
    try:
        for program in programs:
            process = subprocess.Popen(
                program,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            started.append(process)
            if program[0] == "munged":
                until(lambda: (path / "munge.socket").exists())
        until(lambda: "idle" in asked(variables, "sinfo", "--noheader", "--format=%T"))
        yield variables
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def asked(variables: dict[str, str], *words: str) -> str:
    """What one of Slurm's commands prints."""
    return subprocess.run(
        words, env=os.environ | variables, capture_output=True, text=True, check=False
    ).stdout


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} seconds"
        time.sleep(0.1)
