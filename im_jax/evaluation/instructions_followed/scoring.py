"""IFEval's figures: prompts and instructions followed, strictly and loosely.

Zhou et al., "Instruction-Following Evaluation for Large Language Models" (2023). The rules are those that
lm-evaluation-harness ships, so that a file of answers and a task of the harness score alike. Where they draw
at random, they are made to draw the same for the same prompt: the language of a text is told by sampling, and
two prompts ask to count a character that is no letter, for which the rules draw one.
"""

import math
import os
import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.instructions_followed.sentences import prepare
from im_jax.evaluation.records import Kind, read_records


class Prompt(NamedTuple):
    """What is asked, and what can be told of an answer to it."""

    key: int
    prompt: str
    instructions: tuple[str, ...]
    """Names, such as `punctuation:no_comma`."""
    arguments: tuple[Mapping[str, Any], ...]
    """Of each."""


class Followed(NamedTuple):
    """Which instructions of a prompt an answer follows, in their order."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    """The answer, or the answer without its first or last line, or without asterisks."""


class Share(NamedTuple):
    """A share, and its standard error over prompts."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Scores:
    """Of all answers.

    Attributes:
        prompt_strict: share of prompts of which all instructions are followed.
        prompt_loose: the same, loosely.
        instruction_strict: share of all instructions.
        instruction_loose: the same, loosely.
        by_instruction: for each name: share followed strictly, loosely, and how many there are.
        prompts: how many were answered.
        missing: how many were not; they are in no share.
        sentences: how sentences were told apart.
        each: prompts that were answered, with what is followed.
    """

    prompt_strict: Share
    prompt_loose: Share
    instruction_strict: Share
    instruction_loose: Share
    by_instruction: Mapping[str, tuple[float, float, int]]
    prompts: int
    missing: int
    sentences: str
    each: Sequence[tuple[Prompt, Followed]]


def read_prompts(path: str | os.PathLike[str], flag: str = "data") -> list[Prompt]:
    """IFEval's `input_data.jsonl`.

    Raises:
        UserError: it is not such a file.
    """
    fields: dict[str, Kind] = {"key": int, "prompt": str, "instruction_id_list": list, "kwargs": list}
    prompts = []
    for item in read_records(path, fields, flag):
        names, arguments = item.value["instruction_id_list"], item.value["kwargs"]
        if len(names) != len(arguments) or not names:
            raise DataError(f"{item.origin}: has {len(names)} instructions and {len(arguments)} kwargs")
        prompts.append(Prompt(item.value["key"], item.value["prompt"], tuple(names), tuple(arguments)))
    return prompts


def read_responses(path: str | os.PathLike[str], flag: str = "answers") -> dict[str, str]:
    """Answers by prompt: a file of `prompt` and `response`, as IFEval's own code reads it.

    Raises:
        UserError: it is not such a file, or a prompt is answered twice.
    """
    responses: dict[str, str] = {}
    for item in read_records(path, {"prompt": str, "response": str}, flag):
        if item.value["prompt"] in responses:
            raise DataError(f"{item.origin}: answers a prompt that is answered before; keep one answer")
        responses[item.value["prompt"]] = item.value["response"]
    return responses


def followed(prompt: Prompt, response: str) -> Followed:
    """Which instructions an answer follows.

    Raises:
        ConfigError: lm-eval is not installed.
        DataError: a rule is unknown, or its arguments are not its own.
    """
    prepare()
    try:
        import langdetect
        from lm_eval.tasks.ifeval import utils
    except ImportError as error:
        raise ConfigError(
            f"the rules of IFEval are lm-eval's, and {error.name} is missing; install im_jax[eval]"
        ) from None
    langdetect.DetectorFactory.seed = 0
    record = {
        "key": prompt.key,
        "prompt": prompt.prompt,
        "instruction_id_list": list(prompt.instructions),
        "kwargs": [dict(each) for each in prompt.arguments],
    }
    before = random.getstate()
    random.seed(prompt.key)
    try:
        found = utils.process_results(record, [response])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"prompt {prompt.key}: its instructions cannot be checked: {error!r}") from None
    finally:
        random.setstate(before)
    return Followed(tuple(found["inst_level_strict_acc"]), tuple(found["inst_level_loose_acc"]))


def score(prompts: Sequence[Prompt], responses: Mapping[str, str]) -> Scores:
    """The figures of some answers.

    Args:
        prompts: all.
        responses: by prompt.

    Raises:
        UserError: no prompt is answered, an answer is of no prompt, or the rules cannot be had.
    """
    known = {each.prompt for each in prompts}
    if strange := [text for text in responses if text not in known]:
        raise DataError(
            f"{len(strange)} of {len(responses)} answers are to no prompt of these, such as "
            f"{strange[0][:40]!r}; give the file that was answered"
        )
    answered = [each for each in prompts if each.prompt in responses]
    if not answered:
        raise DataError("none of the prompts is answered")
    results = [followed(each, responses[each.prompt]) for each in answered]
    strict, loose = [each.strict for each in results], [each.loose for each in results]
    return Scores(
        prompt_strict=_share([(float(all(each)), 1) for each in strict]),
        prompt_loose=_share([(float(all(each)), 1) for each in loose]),
        instruction_strict=_share([(float(sum(each)), len(each)) for each in strict]),
        instruction_loose=_share([(float(sum(each)), len(each)) for each in loose]),
        by_instruction=_by_instruction(answered, results),
        prompts=len(answered),
        missing=len(prompts) - len(answered),
        sentences=prepare(),
        each=list(zip(answered, results, strict=True)),
    )


def _share(parts: Sequence[tuple[float, int]]) -> Share:
    """A ratio of sums, with an error over its parts (linearised)."""
    count = sum(number for _, number in parts)
    value = math.fsum(part for part, _ in parts) / count
    if len(parts) < 2:
        return Share(value, math.nan)
    squares = math.fsum((part - value * number) ** 2 for part, number in parts)
    return Share(value, math.sqrt(squares * len(parts) / (len(parts) - 1)) / count)


def _by_instruction(
    prompts: Iterable[Prompt], results: Iterable[Followed]
) -> dict[str, tuple[float, float, int]]:
    found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for prompt, result in zip(prompts, results, strict=True):
        for name, strict, loose in zip(prompt.instructions, result.strict, result.loose, strict=True):
            found[name].append((strict, loose))
    return {
        name: (statistics.fmean(a for a, _ in pairs), statistics.fmean(b for _, b in pairs), len(pairs))
        for name, pairs in sorted(found.items())
    }
