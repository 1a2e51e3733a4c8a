"""A run in a process of its own, which says how many programs it compiled and how many it found compiled.

Argument: the workdir.
"""

import collections
import sys

import jax

from im_jax.recorder import Recorder
from im_jax.training.start import run_here
from tests.training.tiny import tiny_config

ASKED, FOUND = (f"/jax/compilation_cache/{name}" for name in ("compile_requests_use_cache", "cache_hits"))


def main() -> None:
    counts: collections.Counter[str] = collections.Counter()
    jax.monitoring.register_event_listener(lambda event, **_: counts.update([event]))
    config = tiny_config()
    config.train.steps, config.checkpoint.every, config.checkpoint.compiled = 4, 2, "on"
    run_here(config, sys.argv[1], "run", Recorder(), dry_run=False)
    print(f"asked {counts[ASKED]} found {counts[FOUND]}")


if __name__ == "__main__":
    main()
