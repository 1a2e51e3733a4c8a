"""Evaluate models: benchmark tasks, judged chat, and how two of them compare, item by item.

    python -m im_jax.evaluate --workdir=RUN|--model=DIR --tasks=im_paper|NAME,NAME --output=DIR
        [--local_data=DIR] [--num_fewshot=N] [--limit=N] [--apply_chat_template] [--add_bos=auto|yes|no]
    python -m im_jax.evaluate compare FIRST SECOND [THIRD ...]
    python -m im_jax.evaluate answers --workdir=RUN|--model=DIR --benchmark=NAME --data=PATH --output=FILE
    python -m im_jax.evaluate judge --benchmark=NAME --answers=FILE --judge=MODEL --output=FILE
    python -m im_jax.evaluate score --benchmark=NAME

Without a first word, a model is asked tasks of lm-evaluation-harness, with its prompts, metrics and filters:
with --workdir, that of the run's latest checkpoint; with --model, a Hugging Face folder or a llama2.c file,
changed by the adapter of PEFT that --adapter names. im_paper is the list of the paper on instruction
modelling, with its shots and means; what has no data is shown as missing. humaneval runs programs that the
model writes, confined, and only where it is named. --output gets results.json, items/TASK.jsonl with what
each item gave, and lm_eval.log.

The others have --help of their own, such as python -m im_jax.evaluate compare --help.
"""

import importlib
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NoReturn

from im_jax.command_line import runner
from im_jax.config.checks import did_you_mean
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
    if words and not words[0].startswith("-"):
        runner.run(lambda: _no_verb(words[0]))
    importlib.import_module("im_jax.evaluate.tasks").run([program, *words])
    raise AssertionError("a command ends the program")


def _no_verb(word: str) -> NoReturn:
    raise ConfigError(
        f"{word!r} is nothing to do{did_you_mean(word, VERBS)}; begin with {', '.join(VERBS)}, or for tasks "
        "with --tasks=NAME"
    )
