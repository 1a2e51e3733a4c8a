"""Examples of a rewrite task as conversations, for every tokenizer and template."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import SupportsIndex

import numpy as np

from im_jax.config.rewrites_checks import PROMPT_FIELDS, check_prompt
from im_jax.data.records.conversation import Conversation, Message
from im_jax.studies.rewrites.examples.task import Examples, RewriteTask


class RewriteSource:
    """A task's examples by number: an instruction in the words of `data.rewrites.prompt`, and the answer."""

    skipped: Sequence[str] = ()
    left_out: Mapping[str, int] = MappingProxyType({})

    def __init__(self, task: RewriteTask, prompt: str, name: str, count: int | None = None) -> None:
        """Args: the task, how it is written, what to call it in ids, and how many of its first examples."""
        check_prompt(prompt)
        self._task, self._prompt, self._name = task, prompt, name
        self._count = len(task) if count is None else count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: SupportsIndex) -> Conversation:
        number = range(len(self))[index]
        return conversation(
            self._task, self._task.examples(np.array([number])), 0, self._prompt, f"{self._name}-{number}"
        )


def conversation(task: RewriteTask, examples: Examples, row: int, prompt: str, identity: str) -> Conversation:
    """One of some examples as instruction and answer."""
    sides = {name: task.text(getattr(examples, name)[row]) for name in PROMPT_FIELDS}
    answer = task.text(examples.answer[row, : examples.answer_length[row]])
    messages = (Message("user", prompt.format(**sides)), Message("assistant", answer))
    return Conversation(identity, messages, identity)
