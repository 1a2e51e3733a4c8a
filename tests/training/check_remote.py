"""A run in a process of its own, to be killed. Argument: the workdir."""

import sys

from im_jax.console import Console
from im_jax.training.start import train
from tests.training.test_remote import six_steps

if __name__ == "__main__":
    train(six_steps(), sys.argv[1], Console(file=sys.stdout, width=1000))
