"""Two processes of a run in a bucket: one is killed inside a save, then the other, and both together go on."""

import importlib.util
import re
import signal
import threading
from pathlib import Path

import pytest

from im_jax.cluster.peers import LOST
from im_jax.stores.places import place
from tests.faults.runs import SECONDS, Outcome, assert_undisturbed, pair
from tests.stand_in_gcs import StandIn, stand_in_asked

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed")


def on_disk(store: StandIn, prefix: str, to: Path) -> Path:
    """What a bucket holds, as a folder."""
    for name in store.names(prefix):
        file = to / name.removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(store.content(name))
    return to


def test_a_pair_in_a_bucket_that_loses_one_inside_a_save_ends_as_an_undisturbed_one_on_a_disk(
    whole_pair: Outcome, tmp_path: Path
) -> None:
    with stand_in_asked() as store:
        workdir = place("gs://bucket/run")
        for killed in (1, 0):
            begun, hold = threading.Event(), threading.Event()

            def refuse(
                method: str,
                bucket: str,
                name: str,
                part: str = f"/6/params/ocdbt.process_{killed}",
                begun: threading.Event = begun,
                hold: threading.Event = hold,
            ) -> int:
                if method == "POST" and part in re.sub(r"\.orbax-checkpoint-tmp[^/]*", "", name):
                    begun.set()
                    hold.wait(SECONDS)
                    return 503
                return 0

            store.refuse = refuse
            with pair(workdir, variables=store.environment(), logs=tmp_path) as runs:
                assert runs[0].wait_for(begun.is_set), runs[0].said + runs[1].said
                runs[killed].send(signal.SIGKILL)
                codes = [run.code() for run in runs]
                hold.set()
            store.refuse = None
            left = runs[1 - killed]
            assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == LOST, left.said
            assert f"host {killed} " in left.said and " was killed, or its machine is gone; " in left.said
            assert "bucket/run/checkpoints/3/commit_success.txt" in store.names("bucket/run/")
            assert "bucket/run/checkpoints/6/commit_success.txt" not in store.names("bucket/run/")
        with pair(workdir, variables=store.environment(), logs=tmp_path) as runs:
            assert [run.code() for run in runs] == [0, 0], runs[0].said + runs[1].said
        assert "resuming from step 3 in gs://bucket/run" in runs[0].said
        assert "bucket/run/.lock" not in store.names("bucket/run/")
        found = on_disk(store, "bucket/run/", tmp_path / "found")
    assert_undisturbed(found, whole_pair)
