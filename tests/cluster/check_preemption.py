"""Run in two processes: what happens on SIGTERM at the second one, at a moment that is named.

python -m tests.cluster.check_preemption before|first|steps|saved
"""

import os
import signal
import sys
import time

import jax
from jax._src import distributed

from im_jax.cluster import peers
from im_jax.cluster.joining import join_cluster
from im_jax.cluster.preemption import Preemption
from im_jax.config import Config


def main(moment: str) -> None:
    join_cluster(Config())
    process = jax.process_index()

    def last_words(code: int, why: str) -> None:
        print(f"last words: {code} {why}", flush=True)

    preemption = Preemption(peers.current(), last_words)
    preemption.watch()

    def terminated(now: str) -> None:
        if process == 1 and now == moment:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    terminated("before")
    if moment == "before":
        time.sleep(30)
    # As on a process that is faster than the one that is told: none must leave any more.
    if process == 0:
        preemption.first_step()
    else:
        time.sleep(1.0)
        terminated("first")
        time.sleep(3.0)
        preemption.first_step()
    for place in range(1, 41):
        distributed.global_state.client.wait_at_barrier(f"step {place}", 30_000)  # as the devices do
        if place == 5:
            terminated("steps")
        if preemption.reached():
            print(f"reached at {place}", flush=True)
            peers.end_with(0, "")
            return
        time.sleep(0.05)
    preemption.saved()
    terminated("saved")
    time.sleep(30)


if __name__ == "__main__":
    main(*sys.argv[1:])
