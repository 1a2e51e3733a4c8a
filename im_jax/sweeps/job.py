"""Inside a job of Slurm: one run of a sweep. See im_jax/sweeps/slurm.py, which submits it.

SIGTERM comes before the job's time is up, and where another job is to have its place: the run saves, and the
process ends with exit code 42, after which the batch script puts the job into the queue again.
"""

import functools
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

from im_jax.console import print_text
from im_jax.errors import Interrupted
from im_jax.interruption import Interruption
from im_jax.recorder import Recorder


def run_cell(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request as a worker of a sweep does, with `seconds` beside (`im_jax.sweeps.worker`)."""
    began = time.perf_counter()
    with Interruption(print_text) as interruption:
        events = Recorder()
        interruption.last_words = events.left
        # Only now: signals are heard while JAX is imported.
        from im_jax.sweeps import worker
        from im_jax.training.start import train

        worker.write_to(pathlib.Path(request["log"]))
        try:
            answer = worker.answer_to(
                functools.partial(train, interruption=interruption, events=events), request
            )
        except Interrupted as end:
            print_text(str(end))
            sys.exit(end.exit_code)
    return answer | {"seconds": time.perf_counter() - began}
