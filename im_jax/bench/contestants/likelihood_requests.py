"""What the benchmark of likelihoods asks: prompts as lm-evaluation-harness writes them, as token ids."""

import functools
import itertools
import pathlib
from collections.abc import Iterator
from typing import Final

from im_jax.bench.case import Case
from im_jax.data.tokenizers import make_tokenizer
from im_jax.evaluation.harness.local import mmlu, options, piqa
from im_jax.evaluation.likelihood.texts import Pair

SUBJECTS: Final = (
    *("abstract_algebra", "anatomy", "astronomy", "business_ethics", "college_biology"),
    *("computer_security", "econometrics", "global_facts", "machine_learning", "management"),
)
_SHOTS: Final = 5
_ABOUT: Final = "The following are multiple choice questions (with answers) about {}.\n\n"


def requests(case: Case) -> list[Pair]:
    """Contexts and continuations of the first questions of a task (of MMLU: of each subject)."""
    tokenizer = make_tokenizer(case.tokenizer)
    begin = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []

    @functools.cache
    def encode(text: str) -> list[int]:
        return tokenizer.encode(text).ids.tolist()

    pairs: list[Pair] = []
    for context, continuation in _texts(pathlib.Path(case.data), case.work, case.shape[0]):
        whole = encode(context + continuation)
        split = len(encode(context))
        pairs.append(([*begin, *whole[:split]], whole[split:]))
    return pairs


def _texts(data: pathlib.Path, task: str, most: int) -> Iterator[tuple[str, str]]:
    match task:
        case "mmlu":
            for subject in SUBJECTS:
                yield from _mmlu(data, subject, most)
        case "arc_easy":
            for row in options.arc(data, task)["test"][:most]:
                context = f"Question: {row['question']}\nAnswer:"
                yield from ((context, f" {choice}") for choice in row["choices"]["text"])
        case "openbookqa":
            for row in options.openbookqa(data, task)["test"][:most]:
                yield from ((row["question_stem"], f" {choice}") for choice in row["choices"]["text"])
        case _:
            for row in piqa.load(data, task)["validation"][:most]:
                context = f"Question: {row['goal']}\nAnswer:"
                yield from ((context, f" {row[solution]}") for solution in ("sol1", "sol2"))


def _mmlu(data: pathlib.Path, subject: str, most: int) -> Iterator[tuple[str, str]]:
    splits = mmlu.load(data, f"{mmlu.PREFIX}{subject}")

    def asked(row: dict[str, object]) -> str:
        choices = zip("ABCD", row["choices"], strict=True)  # type: ignore[call-overload]
        lines = (f"{letter}. {choice}" for letter, choice in choices)
        return "\n".join([str(row["question"]).strip(), *lines, "Answer:"])

    shots = (f"{asked(row)} {'ABCD'[row['answer']]}\n\n" for row in splits["dev"][:_SHOTS])
    begin = _ABOUT.format(subject.replace("_", " ")) + "".join(shots)
    for row, letter in itertools.product(splits["test"][:most], "ABCD"):
        yield begin + asked(row), f" {letter}"
