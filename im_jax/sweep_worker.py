"""The process that trains the runs of a sweep, one after another; `python -m im_jax.sweep` starts it.

    python -m im_jax.sweep_worker

It is a door of its own because it is where a sweep meets `train`: see im_jax/sweeps/worker.py.
"""

from im_jax.sweeps import worker
from im_jax.train import train

if __name__ == "__main__":
    worker.serve(train)
