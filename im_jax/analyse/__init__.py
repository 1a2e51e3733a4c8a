"""Analyse runs: what they learned by heart, what they forgot, and which tokens moved them.

    python -m im_jax.analyse overfitting --runs=RUN,RUN --output=DIR [--limit=N] [--checkpoints=newest|all]

The command has --help of its own: python -m im_jax.analyse overfitting --help.
"""

from types import MappingProxyType
from typing import Final

from im_jax.command_line import Verbs

VERBS: Final = MappingProxyType({"overfitting": "im_jax.analyse.overfitting"})
"""The module of each first word."""

run = Verbs(VERBS, "im_jax.analyse.overfitting", "--runs=RUN,RUN for overfitting")
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
