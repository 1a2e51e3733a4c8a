"""Real processes of a run: one that differs, fails or is stuck. `tests/faults` has those that are killed."""

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.training.test_devices import start_pod

LONG = ("--config.train.steps=100000", "--config.optimizer.schedule=constant")


def ends(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes and last words, which must come soon."""
    try:
        said = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def wait_for_steps(workdir: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not (workdir / "metrics.jsonl").exists() or not (workdir / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)


def test_other_examples_on_one_are_refused_on_both(tmp_path: Path) -> None:
    text = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    folders = [tmp_path / name for name in "ab"]
    for folder, copies in zip(folders, (40, 41), strict=True):
        folder.mkdir()
        (folder / "configs").symlink_to(REPOSITORY / "configs")
        (folder / "data.jsonl").write_text(text * copies)
    processes = start_pod(
        tmp_path / "run", "--config.data.source=jsonl", "--config.data.path=data.jsonl", folders=folders
    )
    codes, said = ends(processes)
    assert codes == [2, 2]
    for each in said:
        assert "error: the hosts differ in what they have read; give all of them the same:" in each
        assert re.search(r"host 1 \(.*\): data fingerprint=\S+, on host 0 \(.*\) \S+", each)


def test_an_error_of_one_ends_both_at_once_with_its_reason(tmp_path: Path) -> None:
    processes = start_pod(tmp_path / "run", *LONG)
    wait_for_steps(tmp_path / "run", processes[0])
    (tmp_path / "run" / "metrics.jsonl").unlink()  # which the first process alone writes
    codes, said = ends(processes)
    assert codes == [1, 43]
    reason = r"cannot be written: it was removed while it is written; there is no checkpoint to go on from"
    assert re.search(rf"^error: .* {reason}", said[0], re.MULTILINE)
    assert re.search(
        rf"host 0 \(.*\) ended with exit code 1: .* {reason}; host 1 \(.*\) ends with 43", said[1]
    )


def test_a_process_that_is_stuck_shows_its_stacks() -> None:
    source = (
        "import time; from im_jax.cluster.watchdog import Watchdog, tick\n"
        "def waits_for_ever(): time.sleep(60)\n"
        "with Watchdog(1.0):\n    time.sleep(0.7); tick('step 2'); time.sleep(0.7); tick('step 3'); waits_for_ever()"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "in waits_for_ever" in done.stderr
    last = "stuck: step 3 has not ended after 1 s (mesh.stuck_after); the stacks above say where"
    assert done.stderr.splitlines()[-1] == last
