"""A process that trains runs of a sweep, one after another; `python -m im_jax.sweep` starts it.

    python -m im_jax.sweep_worker [CORE,CORE,...]

With cores, it uses these alone. It is a door of its own because it is where a sweep meets `train`: see
im_jax/sweeps/worker.py.
"""

import os
import sys


def main(arguments: list[str]) -> None:
    if arguments:
        os.sched_setaffinity(0, map(int, arguments[0].split(",")))
    # Only now: libraries make a thread for each core that they may use, some of them when imported.
    from im_jax.sweeps import worker
    from im_jax.training.start import train

    worker.serve(train)


if __name__ == "__main__":
    main(sys.argv[1:])
