"""Two processes of a run, one of which is killed, stuck, or never comes: both end soon, and both together go on."""

import re
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from im_jax.cluster.peers import LOST
from im_jax.events import Happened
from tests.faults.runs import Outcome, Run, assert_undisturbed, ended, outcome

HOST = r"host {} \([^)]*\)"


@contextmanager
def pair(
    workdir: Path, numbers: tuple[int, ...] = (0, 1), flags: Mapping[str, object] | None = None
) -> Iterator[list[Run]]:
    """The processes of a run of two, or some of them."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (one, other)]
    cluster = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{ports[0]}",
        "IM_JAX_ROLL_CALL_PORT": str(ports[1]),
        "JAX_NUM_PROCESSES": "2",
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                ended(
                    Run(
                        workdir,
                        cluster | {"JAX_PROCESS_ID": str(number)},
                        log=workdir.with_name(f"{number}.log"),
                        flags=flags,
                    )
                )
            )
            for number in numbers
        ]


@pytest.fixture(scope="module")
def whole_pair(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Of two processes to which nothing happens."""
    workdir = tmp_path_factory.mktemp("pair") / "run"
    with pair(workdir) as runs:
        assert [run.code() for run in runs] == [0, 0], runs[0].said + runs[1].said
    return outcome(workdir)


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
