"""Two processes of a run, one of which is killed, stuck, or never comes: both end soon, and both together go on."""

import re
import signal
from pathlib import Path

from im_jax.cluster.peers import LOST
from im_jax.events import Happened
from tests.faults.runs import Outcome, assert_undisturbed, pair

HOST = r"host {} \([^)]*\)"


def test_a_pair_that_loses_one_again_and_again_ends_as_an_undisturbed_one(
    whole_pair: Outcome, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    for killed, moment in (
        (1, (Happened.STEP, "")),
        (0, (Happened.SAVE, "begin")),
        (1, (Happened.COMPILE, "begin")),
    ):
        with pair(workdir) as runs:
            assert runs[0].wait_for(lambda: runs[0].happened(*moment)), runs[0].said  # noqa: B023
            runs[killed].send(signal.SIGKILL)
            codes = [run.code() for run in runs]
        left = runs[1 - killed]
        assert codes == ([-signal.SIGKILL, LOST] if killed == 0 else [LOST, -signal.SIGKILL]), left.said
        assert re.search(
            f"{HOST.format(killed)} was killed, or its machine is gone; {HOST.format(1 - killed)} ends with 43",
            left.said,
        )

    with pair(workdir, flags={"config.mesh.peer_timeout": 3}) as runs:
        assert runs[0].wait_for(lambda: runs[0].happened(Happened.FIRST_STEP)), runs[0].said
        runs[1].send(signal.SIGSTOP)
        assert runs[0].code() == LOST
        assert re.search(f"{HOST.format(1)} gave no sign of life for 3 s; ", runs[0].said)

    for there in (0, 1):
        with pair(workdir, (there,), {"config.mesh.join_timeout": 1}) as (alone,):
            assert alone.code() == 1
        told = f"{HOST.format(1)}|host 1" if there == 0 else "could not reach host 0"
        assert re.search(told, alone.last_line), alone.said

    with pair(workdir) as runs:
        assert [run.code() for run in runs] == [0, 0], runs[0].said + runs[1].said
    assert_undisturbed(workdir, whole_pair)
