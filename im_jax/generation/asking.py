"""A file of prompts answered into a file: what `im_jax.generate --prompts` does."""

import hashlib
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from im_jax.console import Console, print_text, words
from im_jax.data.records.conversation import Message
from im_jax.errors import DataError, UserError
from im_jax.generation.answers import AnswersFile, keys_of
from im_jax.generation.ends import ends_of
from im_jax.generation.generator import Generator
from im_jax.generation.programs import Shape
from im_jax.generation.prompts import Refused, read_prompts
from im_jax.generation.requests import Request
from im_jax.models.loaded import Model
from im_jax.text import counted


class Asked(NamedTuple):
    """What became of a file of prompts."""

    answers: int
    errors: int
    by_length: int
    """Answers that `max_tokens` or the model's positions ended."""


def answer_file(
    model: Model,
    weights: str,
    prompts: pathlib.Path,
    output: pathlib.Path,
    defaults: Mapping[str, Any],
    *,
    slots: int | None = None,
) -> Asked:
    """Answers all prompts of a file; goes on where it was stopped. Call it on all processes.

    Args:
        model: that answers.
        weights: a name for its values, such as their digest.
        prompts: see `read_prompts`.
        output: see `AnswersFile`.
        defaults: parameters of sampling of records that do not name them.
        slots: see `Generator`.

    Raises:
        DataError: prompts or answers cannot be read, or `output` is of something else.
        StorageError: an answer cannot be written.
    """
    generator = Generator(model, slots=slots)
    found = read_prompts(prompts, generator, model, defaults)
    requests = [each for each in found if isinstance(each, Request)]
    refused = [each for each in found if isinstance(each, Refused)]
    shape, first = generator.shape(requests), jax.process_index() == 0
    header = _header(model, weights, defaults, generator.slots)
    file = _opened(output, header, found) if first else None
    try:
        done = _agreed(keys_of(found), set() if file is None else file.done)
        if file is not None:
            for each in refused:
                if (each.id, 0) not in done:
                    file.refuse(each)
            _say_beforehand(generator, shape, requests, len(refused), done)
        _answer(generator, requests, shape, done, file)
        if file is None:
            return Asked(0, 0, 0)
        file.finish()
        return _summary(file.rows)
    finally:
        if file is not None:
            file.close()


def _answer(
    generator: Generator,
    requests: Sequence[Request],
    shape: Shape,
    done: set[tuple[str, int]],
    file: AnswersFile | None,
) -> None:
    wanted = len(keys_of(requests)) - len(done.intersection(keys_of(requests)))
    began, counts = time.perf_counter(), generator.counts
    console = Console(stderr=True, quiet=file is None)
    with console.status("reading prompts") as status:
        for completion in generator(requests, shape=shape, without=done):
            if file is not None:
                file.add(completion)
                rate = counts.answer_tokens / (time.perf_counter() - began)
                status.update(
                    words(
                        f"{counts.answers:,} of {wanted:,} answers, {counts.answer_tokens:,} tokens, "
                        f"{rate:,.0f} tokens/s"
                    )
                )
    if file is not None and counts.answers:
        seconds = time.perf_counter() - began
        drawn = counts.answer_tokens / max(counts.steps * shape.slots, 1)
        read = counts.prompt_tokens + counts.padding
        print_text(
            f"{counted(counts.answers, 'answer')} in {seconds:.1f} s: {counts.answer_tokens:,} tokens "
            f"({counts.answer_tokens / seconds:,.0f} a second), {counts.prompt_tokens:,} tokens of prompts; "
            f"slots {drawn:.0%} in use, {counts.padding / max(read, 1):.0%} of what was read is padding"
        )


def _say_beforehand(
    generator: Generator,
    shape: Shape,
    requests: Sequence[Request],
    refused: int,
    done: set[tuple[str, int]],
) -> None:
    tokens, keys = sum(len(each.tokens) for each in requests), keys_of(requests)
    print_text(
        f"{counted(len(requests) + refused, 'prompt')} of {tokens:,} tokens, {counted(len(keys), 'answer')}, "
        f"of which {len(done.intersection(keys)):,} are there; "
        f"{shape.slots} slots of {shape.columns:,} tokens, "
        f"{generator.cache_bytes(shape) / 2**20:,.1f} MiB of keys and values"
    )


def _summary(rows: Sequence[Mapping[str, Any]]) -> Asked:
    answers = [row for row in rows if "error" not in row]
    by_length = sum(row["finish_reason"] == "length" for row in answers)
    asked = Asked(len(answers), len(rows) - len(answers), by_length)
    share = by_length / len(answers) if answers else 0.0
    print_text(
        f"all {counted(asked.answers, 'answer')} are there, {share:.1%} of them cut at max_tokens; "
        f"{counted(asked.errors, 'prompt')} could not be answered"
    )
    return asked


def _header(model: Model, weights: str, defaults: Mapping[str, Any], slots: int) -> dict[str, Any]:
    """What must be the same for a file to be gone on with."""
    shown = [Message("user", "What is 3 + 4?"), Message("assistant", "7"), Message("user", "Why?")]
    template: Any = None
    if model.template is not None:
        try:
            template = _short(model.prompt(shown).tolist())
        except UserError:
            template = _short(model.prompt(shown[:1]).tolist())  # it knows one turn alone
    return {
        "model": weights,
        "compute_dtype": model.config.compute_dtype,
        "template": template,
        "ends": _short(list(ends_of(model))),
        "parameters": {name: defaults[name] for name in sorted(defaults)},
        "slots": slots,
    }


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _opened(output: pathlib.Path, header: dict[str, Any], found: Sequence[Request | Refused]) -> AnswersFile:
    if output.is_dir():
        raise DataError(f"--output={output} is a directory; name a file")
    return AnswersFile(output, json.loads(json.dumps(header)), found)


def _agreed(keys: Sequence[tuple[str, int]], done: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """The answers that the first process has found, on all processes."""
    there = np.array([key in done for key in keys], bool)
    if jax.process_count() > 1:
        there = np.asarray(multihost_utils.broadcast_one_to_all(there))
    return {key for key, is_there in zip(keys, there, strict=True) if is_there}
