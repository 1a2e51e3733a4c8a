"""Examples of a rewrite task as conversations, for every tokenizer and template."""

import string
from collections.abc import Sequence
from typing import Final, SupportsIndex

import numpy as np

from im_jax.data.conversation import Conversation, Message
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.task import Examples, RewriteTask

FIELDS: Final = ("left", "right", "input")


class RewriteSource:
    """A task's examples by number: an instruction in the words of `data.rewrites.prompt`, and the answer."""

    skipped: Sequence[str] = ()

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
    sides = {name: task.text(getattr(examples, name)[row]) for name in FIELDS}
    answer = task.text(examples.answer[row, : examples.answer_length[row]])
    messages = (Message("user", prompt.format(**sides)), Message("assistant", answer))
    return Conversation(identity, messages, identity)


def check_prompt(prompt: str) -> None:
    """Stop unless a prompt tells all that the answer depends on.

    Raises:
        ConfigError: it is no format string, or a field is unknown or missing.
    """
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError as error:
        raise ConfigError(f"data.rewrites.prompt={prompt!r}: {error}; write {{{{ for a brace") from error
    names = [name for _, name, _, _ in parts if name is not None]
    plain = all(not spec and not conversion for _, _, spec, conversion in parts)
    if not plain or not set(names) <= set(FIELDS):
        raise ConfigError(
            f"data.rewrites.prompt={prompt!r} can have {{left}}, {{right}} and {{input}} as its fields"
        )
    if missing := [name for name in FIELDS if name not in names]:
        raise ConfigError(
            f"data.rewrites.prompt={prompt!r} leaves out {{{missing[0]}}}, which the answer needs; add it"
        )
