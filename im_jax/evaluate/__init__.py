"""Evaluate models: what they score, and how two of them compare, item by item.

    python -m im_jax.evaluate compare FIRST SECOND [THIRD ...]
    python -m im_jax.evaluate answers --workdir=RUN|--model=DIR --benchmark=NAME --data=PATH --output=FILE
    python -m im_jax.evaluate judge --benchmark=NAME --answers=FILE --judge=MODEL --output=FILE
    python -m im_jax.evaluate score --benchmark=NAME

`python -m im_jax.evaluate compare --help` says more, and so for each first word.
"""

import importlib
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NoReturn

from im_jax.command_line import help, runner
from im_jax.config.checks import did_you_mean
from im_jax.console import print_text
from im_jax.errors import ConfigError

VERBS: Final = MappingProxyType(
    {
        "compare": "im_jax.evaluate.compare",
        "answers": "im_jax.evaluate.answers",
        "judge": "im_jax.evaluate.judge",
        "score": "im_jax.evaluate.score",
    }
)
"""The module of each first word. It has `run(argv)`."""


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run what a command line names first (program name before it; `sys.argv` if None)."""
    program, *words = sys.argv if argv is None else argv
    if words and words[0] in VERBS:
        importlib.import_module(VERBS[words[0]]).run([f"{program} {words[0]}", *words[1:]])
    runner.run(lambda: _without_verb([program, *words]))


def _without_verb(argv: Sequence[str]) -> int:
    if help.asked(argv) is not None:
        print_text(help.reflowed(__doc__ or ""))
        return 0
    word = next((word for word in argv[1:] if not word.startswith("-")), "")
    raise ConfigError(
        f"what to evaluate? {word!r} is none{did_you_mean(word, VERBS)}; begin with {', '.join(VERBS)}"
    )
