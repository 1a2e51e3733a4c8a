"""What a model's answers to rewrite examples are: right, or wrong in which way."""

import enum
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple


class Kind(enum.StrEnum):
    """Of an answer."""

    RIGHT = "right"
    COPIED = "copied"
    """The input, although the left side occurs in it."""
    WRONG_PLACE = "wrong_place"
    """The right side put in another place than that of the leftmost occurrence."""
    WRONG_STRING = "wrong_string"
    """Something else than the right side, of the same length, in the right place."""
    REWRITTEN = "rewritten"
    """An input without the left side, changed by putting in the right side somewhere."""
    LETTERS = "letters"
    """Letters of the left side that stand alone, replaced by those in their places on the right side."""
    WRONG_LENGTH = "wrong_length"
    """None of these, and longer or shorter than the right answer."""
    OTHER = "other"


class Example(NamedTuple):
    """A rewrite example with what it is grouped by."""

    left: str
    right: str
    input: str
    answer: str
    occurrences: int
    family: str
    """Of the rule, with its k where it has one."""


def kind_of(example: Example, given: str) -> Kind:
    """How an answer relates to the right one. What fits several kinds counts as the first of them."""
    if given == example.answer:
        return Kind.RIGHT
    if given == example.input:
        return Kind.COPIED
    if _put_in(example, given):
        return Kind.WRONG_PLACE if example.occurrences else Kind.REWRITTEN
    start = example.input.find(example.left)
    head, tail = example.input[:start], example.input[start + len(example.left) :]
    if start >= 0 and len(given) == len(example.answer) and given.startswith(head) and given.endswith(tail):
        return Kind.WRONG_STRING
    if _letter_by_letter(example, given):
        return Kind.LETTERS
    return Kind.WRONG_LENGTH if len(given) != len(example.answer) else Kind.OTHER


def _put_in(example: Example, given: str) -> bool:
    """Whether the answer is the input with as many letters as the left side has replaced by the right."""
    text, width, new = example.input, len(example.left), example.right
    if len(given) != len(text) - width + len(new):
        return False
    return any(given == text[:at] + new + text[at + width :] for at in range(len(text) - width + 1))


def _letter_by_letter(example: Example, given: str) -> bool:
    """Whether the answer is the right one but for letters that the rule, read as a cipher, changes."""
    if not len(given) == len(example.answer) == len(example.input):
        return False
    cipher = set(zip(example.left, example.right, strict=False))
    return all(
        new == right or (old, new) in cipher
        for old, right, new in zip(example.input, example.answer, given, strict=True)
    )


def score(examples: Sequence[Example], given: Sequence[str]) -> dict[str, Any]:
    """Shares of right answers, of all and by group, and of each kind of error.

    Returns:
        `accuracy`; `has_op` and `no_op`, accuracy on inputs with and without the left side;
        `no_op_near` and `no_op_far`, on those without it that hold some letter of it, or none;
        `occurrences_N`, where inputs have several numbers; `family_F`, where rules are of several families;
        `errors/KIND`, shares of all answers, those of kinds that did not occur being 0; `copying`, the
        accuracy of always giving the input back; and `examples`. Groups without an example are left out.
    """
    kinds = [kind_of(example, answer) for example, answer in zip(examples, given, strict=True)]
    right = [kind is Kind.RIGHT for kind in kinds]

    def accuracy(members: Sequence[bool]) -> float:
        return sum(r for r, member in zip(right, members, strict=True) if member) / sum(members)

    groups = {
        "accuracy": [True] * len(right),
        "has_op": [example.occurrences > 0 for example in examples],
        "no_op": [example.occurrences == 0 for example in examples],
        "no_op_near": [e.occurrences == 0 and not set(e.left).isdisjoint(e.input) for e in examples],
        "no_op_far": [e.occurrences == 0 and set(e.left).isdisjoint(e.input) for e in examples],
    }
    numbers = sorted({example.occurrences for example in examples if example.occurrences})
    families = sorted({example.family for example in examples})
    if len(numbers) > 1:
        groups |= {f"occurrences_{n}": [example.occurrences == n for example in examples] for n in numbers}
    if len(families) > 1:
        groups |= {f"family_{name}": [example.family == name for example in examples] for name in families}
    row: dict[str, Any] = {name: accuracy(group) for name, group in groups.items() if any(group)}
    counted = Counter(kinds)
    errors = [kind for kind in Kind if kind is not Kind.RIGHT]
    row |= {f"errors/{kind}": counted[kind] / len(kinds) for kind in errors}
    row["copying"] = sum(example.input == example.answer for example in examples) / len(examples)
    row["examples"] = len(examples)
    return row
