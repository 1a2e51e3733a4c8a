"""Accuracy of greedy answers to rewrite examples: of unseen rules, and of training rules on new inputs."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.config import Config
from im_jax.evaluation.protocol import Entry, Evaluation
from im_jax.models.loaded import Answer, Model
from im_jax.studies.rewrites.examples import Examples, RewriteTask, make_tasks
from im_jax.studies.rewrites.examples.bulk import bulk_encoder
from im_jax.studies.rewrites.examples.source import conversation
from im_jax.studies.rewrites.markov import program_scores, programs
from im_jax.studies.rewrites.scoring import Example, score

PARTS = {"unseen": "test", "train_rules": "train_rules"}
"""What is measured, by its name in metrics, and the task of `make_tasks` that it is measured on."""
_SPARE = 4
"""Tokens that an answer may be too long by before it is cut: enough to see that it is."""


class RewriteAccuracy(Evaluation):
    """Accuracy at the end of a run; see `evaluate` for the numbers."""

    name = "rewrites"

    def __init__(self, config: Config) -> None:
        self._config = config

    def check(self) -> None:
        """Stop at programs that cannot be drawn (`im_jax.studies.rewrites.markov.programs.draw_runs`)."""
        programs.check(self._config.data.rewrites, self._config.data.seed)

    def __call__(self, model: Model, step: int) -> Entry:
        """Accuracy on unseen rules, on training rows, and on programs if any are asked for."""
        return evaluate(model, self._config)


def evaluate(model: Model, config: Config) -> Entry:
    """Scores of a model, as `PART/NAME`; see `im_jax.studies.rewrites.scoring.score` for the names.

    If programs are wanted, also what `im_jax.studies.rewrites.markov.program_scores.evaluate` makes of them.

    `effective_rules` is the number of equally frequent rules that training was as diverse as.

    Call it on all processes.
    """
    tasks = make_tasks(config.data.rewrites, config.data.seed)

    def answer(task: RewriteTask, arrays: Examples) -> list[str]:
        return answers_of(model, encode_prompts(task, arrays, config.data.rewrites.prompt, model), config)

    row: Entry = {"effective_rules": tasks["train"].effective_rules}
    for name, part in PARTS.items():
        task = tasks[part]
        arrays = task.examples(np.arange(len(task)))
        scores = score(examples_of(task, arrays), answer(task, arrays))
        row |= {f"{name}/{key}": value for key, value in scores.items()}
    of_rule = functools.partial(answer, tasks["train"])
    return row | program_scores.evaluate(config.data.rewrites, tasks["train"], of_rule)


def examples_of(task: RewriteTask, arrays: Examples) -> list[Example]:
    """Examples as strings."""
    families = [task.family(rule) for rule in arrays.rule.tolist()]
    left, right, texts = (_texts(task, letters) for letters in (arrays.left, arrays.right, arrays.input))
    answers = _texts(task, arrays.answer, arrays.answer_length)
    occurrences = arrays.occurrences.tolist()
    return list(map(Example, left, right, texts, answers, occurrences, families))


def _texts(
    task: RewriteTask,
    letters: jt.UInt8[np.ndarray, "E X"],
    lengths: jt.Int64[np.ndarray, " E"] | None = None,
) -> list[str]:
    """Rows of letters as strings; with lengths, so many letters of each row."""
    count, width = letters.shape
    whole = "".join(np.array(list(task.alphabet))[letters.reshape(-1)].tolist())
    ends = [width] * count if lengths is None else lengths.tolist()
    return [whole[row * width : row * width + end] for row, end in enumerate(ends)]


class Asked(NamedTuple):
    """What a model is asked."""

    prompts: Sequence[jt.Int32[np.ndarray, " _"]]
    """Tokens of each prompt."""
    longest_answer: int
    """Tokens of the longest right answer, without its stop."""


def encode_prompts(task: RewriteTask, examples: Examples, prompt: str, model: Model) -> Asked:
    """Examples as prompts: in bulk where a letter is a token whatever stands around it, else one by one."""
    assert model.template is not None, "rewrites are asked in a template"
    bulk = bulk_encoder(task, model.template, model.tokenizer, prompt)
    if bulk is not None and bulk.prompts_agree():
        return Asked(list(bulk.encode_prompts(examples)), int(examples.answer_length.max()))
    prompts, longest = [], 0
    for row in range(len(examples.rule)):
        instruction, answer = conversation(task, examples, row, prompt, str(row)).messages
        prompts.append(model.prompt([instruction]))
        longest = max(longest, len(model.tokenizer.encode(answer.text).ids))
    return Asked(prompts, longest)


def answers_of(model: Model, asked: Asked, config: Config) -> list[str]:
    """What the model answers. One that did not end, even with room to spare, has a mark for that."""
    room = model.config.max_positions - max(map(len, asked.prompts))
    longest_stop = max(map(len, model.stops), default=0)
    new = min(asked.longest_answer + longest_stop + _SPARE, room)
    at_a_time = config.data.rewrites.eval_batch_size
    return [text_of(a) for a in model.answer(asked.prompts, max_new_tokens=new, at_a_time=at_a_time)]


def text_of(answer: Answer) -> str:
    """An answer as it is compared: without an end, it is not the right one."""
    return answer.text if answer.ended else answer.text + "\N{HORIZONTAL ELLIPSIS}"
