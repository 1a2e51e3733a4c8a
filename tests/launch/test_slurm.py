"""`launch/slurm/`: what is asked of sbatch, what JAX is told, and what becomes of a job by its exit codes."""

import shlex
import subprocess

import pytest

from tests.launch.cloud import Cloud

SUBMIT = "slurm/submit.sh"
COMMAND = ["--", "python", "-m", "im_jax.train", "--workdir=a b", "$(x)", ""]


def test_a_job_is_submitted_with_the_words_as_they_are(cloud: Cloud) -> None:
    options = [
        "--name=im",
        "--nodes=4",
        "--gpus_per_node=8",
        "--partition=gpu",
        f"--output={cloud.path}/a b",
        "--mem=0",
    ]
    out, _ = cloud.run(SUBMIT, *options, "--dry_run", *COMMAND)
    assert not cloud.calls()
    cloud.run(SUBMIT, *options, *COMMAND)
    ((*words, given),) = cloud.calls()
    launch = cloud.repository / "launch"
    assert words == [
        *["--job-name=im", "--nodes=4", "--ntasks-per-node=1", "--gres=gpu:8", "--partition=gpu", "--mem=0"],
        *["--time=24:00:00", "--signal=TERM@300", "--requeue", "--open-mode=append", "--export=ALL"],
        *[f"--output={cloud.path}/a b/%x-%j.log", f"{launch}/slurm/job.sh", *COMMAND[1:]],
    ]
    variables = {
        "IM_JAX_LAUNCH": str(launch),
        "IM_JAX_OUTPUT": f"{cloud.path}/a b",
        "IM_JAX_DEVICES": "1",
        "IM_JAX_GPUS_PER_PROCESS": "8",
        "IM_JAX_MAX_REQUEUES": "100",
    }
    assert given["variables"] == variables
    assert (cloud.path / "a b").is_dir()
    made, submitted = map(shlex.split, out.splitlines())
    assert made == ["mkdir", "-p", f"{cloud.path}/a b"]
    assert submitted == ["env", *(f"{name}={value}" for name, value in variables.items()), "sbatch", *words]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--name is missing: what the job is called"),
        (["--name=a", "--gpus_per_node=8", "--processes_per_node=2"], "--processes_per_node=2 must be 1 or the 8 GPUs of a node"),
        (["--name=a", "--output=a%j"], "--output=a%j: sbatch fills in what follows a %"),
        (["--name=a", "--gpus=8"], "--gpus is no option here; --help shows them"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(empty_cloud: Cloud, options: list[str], message: str) -> None:
    _, err = empty_cloud.run(SUBMIT, *options, *COMMAND, code=2)
    assert err == f"error: {message}\n"


def devices(cloud: Cloud, gpus: int) -> str:
    """What a process is told of its devices."""
    (cloud.path / "codes").mkdir(exist_ok=True)
    show = 'echo "${JAX_PLATFORMS-} ${JAX_NUM_CPU_DEVICES-} ${JAX_LOCAL_DEVICE_IDS-}"; exit 3'
    done = subprocess.run(
        ["bash", cloud.repository / "launch/slurm/task.sh", cloud.path / "codes", "bash", "-c", show],
        env={
            "IM_JAX_GPUS_PER_PROCESS": str(gpus),
            "IM_JAX_DEVICES": "2",
            "SLURM_PROCID": "5",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3 and (cloud.path / "codes" / "5").read_text() == "3\n"
    return done.stdout.strip()


def test_a_process_has_all_gpus_of_its_node_or_the_one_of_its_number(cloud: Cloud) -> None:
    assert devices(cloud, gpus=8) == "0,1,2,3,4,5,6,7"
    assert devices(cloud, gpus=1) == ""  # JAX takes the one of SLURM_LOCALID
    assert devices(cloud, gpus=0) == "cpu 2"


@pytest.mark.parametrize(
    ("codes", "state", "restarts", "code", "requeued"),
    [
        ("0 0", "RUNNING", 0, 0, False),
        ("42 42", "RUNNING", 0, 42, True),
        ("42 43", "RUNNING", 3, 43, True),
        ("1 43", "RUNNING", 0, 1, False),  # srun tells 43, the higher
        ("2 43", "RUNNING", 0, 2, False),
        ("134 134", "RUNNING", 0, 134, False),
        ("134 43", "RUNNING", 0, 134, True),
        ("- 43", "RUNNING", 0, 43, True),  # a process that was killed with its node
        ("42 42", "CANCELLED", 0, 42, False),
        ("42 42", "RUNNING", 4, 42, False),
    ],
)
def test_only_a_preempted_job_goes_back_into_the_queue(
    cloud: Cloud, codes: str, state: str, restarts: int, code: int, requeued: bool
) -> None:
    cloud.program("sleep", "exit 0")
    cloud.program("squeue", f"echo {state}")
    cloud.program("scontrol", 'echo "$@" > "$CLOUD/requeued"; exit 1')
    # As srun: a process each, and of their exit codes the highest.
    cloud.program(
        "srun",
        'shift 2; highest=0; at=0; for code in $EACH; do export SLURM_PROCID=$at; at=$((at + 1)); [ "$code" = - ] && continue\n'
        '"$@" bash -c "exit $code" || true; [ "$code" -le "$highest" ] || highest=$code; done; exit "$highest"',
    )
    variables = {
        "EACH": codes,
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "im",
        "SLURM_NTASKS": "2",
        "SLURM_RESTART_COUNT": str(restarts),
        "IM_JAX_OUTPUT": str(cloud.path / "out"),
        "IM_JAX_MAX_REQUEUES": "4",
        "IM_JAX_LAUNCH": str(cloud.repository / "launch"),
        "IM_JAX_GPUS_PER_PROCESS": "0",
        "IM_JAX_DEVICES": "1",
    }
    cloud.run("slurm/job.sh", code=code, **variables)
    assert (cloud.path / "requeued").exists() == requeued
    if requeued:
        assert (cloud.path / "requeued").read_text() == "requeue 7\n"
