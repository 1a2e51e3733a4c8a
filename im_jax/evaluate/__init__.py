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

from types import MappingProxyType
from typing import Final

from im_jax.command_line import Verbs

VERBS: Final = MappingProxyType(
    {
        "compare": "im_jax.evaluate.compare",
        "answers": "im_jax.evaluate.answers",
        "judge": "im_jax.evaluate.judge",
        "score": "im_jax.evaluate.score",
    }
)
"""The module of each first word."""

run = Verbs(VERBS, "im_jax.evaluate.tasks", "for tasks with --tasks=NAME")
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
