"""Accuracy of greedy answers to rewrite examples: of unseen rules, and of training rules on new inputs."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jaxtyping as jt
import numpy as np
from jax.sharding import Mesh

from im_jax.config import Config
from im_jax.data.encoding import encode_prompt, stop_tokens
from im_jax.data.templates import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.evaluation.protocol import Entry, Evaluation
from im_jax.mesh import batch_sharding
from im_jax.models.decoder import Params
from im_jax.models.decoding import greedy
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
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
        assert model.template is not None, "rewrites are asked in a template"
        return evaluate(model.params, self._config, model.tokenizer, model.template, model.mesh, model.rules)


def evaluate(
    params: Params,
    config: Config,
    tokenizer: Tokenizer,
    template: Template,
    mesh: Mesh,
    rules: ShardingRules,
) -> dict[str, Any]:
    """Scores of a model, as `PART/NAME`; see `im_jax.studies.rewrites.scoring.score` for the names.

    If programs are wanted, also what `im_jax.studies.rewrites.markov.program_scores.evaluate` makes of them.

    `effective_rules` is the number of equally frequent rules that training was as diverse as.

    Call it under `jax.set_mesh(mesh)`, on all processes.
    """
    tasks = make_tasks(config.data.rewrites, config.data.seed)

    def answer(task: RewriteTask, arrays: Examples) -> list[str]:
        asked = encode_prompts(task, arrays, config.data.rewrites.prompt, template, tokenizer)
        return decode(params, config, asked.prompts, asked.longest_answer, tokenizer, template, mesh, rules)

    row: dict[str, Any] = {"effective_rules": tasks["train"].effective_rules}
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


def encode_prompts(
    task: RewriteTask, examples: Examples, prompt: str, template: Template, tokenizer: Tokenizer
) -> Asked:
    """Examples as prompts: in bulk where a letter is a token whatever stands around it, else one by one."""
    bulk = bulk_encoder(task, template, tokenizer, prompt)
    if bulk is not None and bulk.prompts_agree():
        return Asked(list(bulk.encode_prompts(examples)), int(examples.answer_length.max()))
    prompts, longest = [], 0
    for row in range(len(examples.rule)):
        instruction, answer = conversation(task, examples, row, prompt, str(row)).messages
        prompts.append(encode_prompt([instruction], template, tokenizer))
        longest = max(longest, len(tokenizer.encode(answer.text).ids))
    return Asked(prompts, longest)


def decode(
    params: Params,
    config: Config,
    prompts: Sequence[np.ndarray],
    longest: int,
    tokenizer: Tokenizer,
    template: Template,
    mesh: Mesh,
    rules: ShardingRules,
) -> list[str]:
    """The greedy answer to each prompt, in batches of equal shape: one compilation.

    Args:
        longest: tokens of the longest right answer; what is given may be a little longer.
    """
    stop = stop_tokens(template, tokenizer)
    width = max(map(len, prompts))
    new = min(longest + len(stop) + _SPARE, config.model.max_positions - width)
    size = _batch_size(len(prompts), config, mesh)
    ends = stop if len(stop) == 1 else []
    answers: list[str] = []
    for start in range(0, len(prompts), size):
        some = prompts[start : start + size]
        tokens = np.zeros((size, width), np.int32)
        lengths = np.ones(size, np.int32)
        for row, prompt in enumerate(some):
            tokens[row, : len(prompt)], lengths[row] = prompt, len(prompt)
        # Rows that are not asked for end when another does, so that none is waited for.
        tokens[len(some) :], lengths[len(some) :] = tokens[0], lengths[0]
        sharding = batch_sharding(mesh)
        placed = [jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for x in (tokens, lengths)]
        decoded = greedy(params, config.model, placed[0], lengths, new, ends, rules)
        rows, stops = (_everywhere(x) for x in decoded)
        for row, prompt in enumerate(some):
            answers.append(answer_of(rows[row, len(prompt) : stops[row]].tolist(), stop, tokenizer))
    return answers


def _batch_size(prompts: int, config: Config, mesh: Mesh) -> int:
    """Prompts at a time: as configured, a multiple of the devices that share them."""
    devices = int(np.prod([mesh.shape[axis] for axis in ("replica", "fsdp")]))
    wanted = min(prompts, config.data.rewrites.eval_batch_size)
    return -(-wanted // devices) * devices


def _everywhere(x: jax.Array) -> np.ndarray:
    """A global array on this process."""
    if x.is_fully_addressable:
        return np.asarray(x)
    replicated = jax.sharding.NamedSharding(x.sharding.mesh, jax.sharding.PartitionSpec())  # type: ignore[attr-defined]
    return np.asarray(jax.jit(lambda y: y, out_shardings=replicated)(x).addressable_data(0))


def answer_of(tokens: list[int], stop: list[int], tokenizer: Tokenizer) -> str:
    """Text before the stop; without a stop, all of it with a mark, for then the answer did not end."""
    for at in range(len(tokens) - len(stop) + 1):
        if tokens[at : at + len(stop)] == stop:
            return tokenizer.decode(tokens[:at])
    return tokenizer.decode(tokens) + "\N{HORIZONTAL ELLIPSIS}"
