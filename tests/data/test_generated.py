"""The embedded set: right answers, the promised mixture, the same on every machine."""

import hashlib
import re
from collections.abc import Callable

import pytest

from im_jax.data.generated import STYLES, TASKS, GeneratedSource
from im_jax.data.records.conversation import Conversation, Message

EXAMPLES = list(GeneratedSource(2000, seed=0))


def subject_of(question: str) -> str:
    """What a question is about: the text below it, after its colon, or in its last quotation marks."""
    ask, _, below = question.partition("\n\n")
    return below or (ask.split(": ")[1] if ": " in ask else re.findall(r'"([^"]*)"', ask)[-1])


def numbers_in(question: str) -> tuple[int, int]:
    a, b = re.findall(r"\d+", question)
    return int(a), int(b)


def backwards(question: str) -> str:
    return "".join(reversed(subject_of(question)))


def in_order(question: str) -> str:
    if "dictionary order" in question:
        question = question.rstrip("?").replace("order the words ", "order: ")
    words, ordered = subject_of(question).split(", "), []
    while words:
        ordered.append(min(words))
        words.remove(ordered[-1])
    return ", ".join(ordered)


def letters(question: str) -> str:
    word = subject_of(question)
    return " ".join(letter for letter in "abcdefghijklmnopqrstuvwxyz" for _ in range(word.count(letter)))


def count(question: str) -> str:
    letter = next(q for q in re.findall(r'"([^"]*)"', question) if len(q) == 1)
    return f"{letter}: {len(subject_of(question).split(letter)) - 1}"


def total(question: str) -> str:
    a, b = numbers_in(question)
    return f"{a} + {b} = {a + b}"


def repeated(question: str) -> str:
    times = int(re.findall(r"\d+", question)[0])
    return (subject_of(question) + " ") * (times - 1) + subject_of(question)


def replaced(question: str) -> str:
    old, new = (q for q in re.findall(r'"([^"]*)"', question) if len(q) == 1)
    word = (
        question.split("\n\n")[1] if "\n\n" in question else max(re.findall(r'"([^"]*)"', question), key=len)
    )
    return "".join(new if letter == old else letter for letter in word)


def larger(question: str) -> str:
    a, b = numbers_in(question)
    return f"yes, {a} > {b}" if max(a, b) == a else f"no, {a} < {b}"


def precedes(question: str) -> str:
    order = r'(\w+)"? (?:come before|in front of|is sorted before) "?(\w+)'
    a, b = re.findall(order, question)[0]
    return f"yes, {a} comes first" if min(a, b) == a else f"no, {b} comes first"


ORACLES: dict[str, Callable[[str], str]] = {
    "copy the following|once more|word for word": subject_of,
    "backwards|right to left|Reverse": backwards,
    "in capital letters|a capital:|upper case": lambda q: subject_of(q).upper(),
    "these words into|dictionary order|words below from A": in_order,
    "letters of .* from A|all letters of|letters of the word below": letters,
    "How often|Count the letter|How many times": count,
    "first two words|does the text below begin": lambda q: " ".join(subject_of(q).split(" ")[:2]),
    "last two words|does the text below end": lambda q: " ".join(subject_of(q).split(" ")[-2:]),
    "sum of|calculate|coins": total,
    r"\d times( |:|\.)": repeated,
    'Replace every|becomes "|Change "': replaced,
    "larger than|greater than|more than": larger,
    "come before|in front of|sorted before": precedes,
}

STYLE_ORACLES: dict[str, Callable[[str], str]] = {
    "capital letters": lambda answer: answer.upper(),
    "full stop": lambda answer: answer + ".",
    "brackets": lambda answer: "[" + answer + "]",
    "Answer:": lambda answer: "Answer: " + answer,
}


def only_match(table: dict[str, Callable[[str], str]], text: str) -> tuple[str, Callable[[str], str]]:
    (match,) = [(pattern, oracle) for pattern, oracle in table.items() if re.search(pattern, text)]
    return match


def system_of(conversation: Conversation) -> str:
    first = conversation.messages[0]
    return first.content if first.role == "system" else ""


def pairs_of(conversation: Conversation) -> list[tuple[Message, Message]]:
    turns = conversation.messages[1 if system_of(conversation) else 0 :]
    return list(zip(turns[::2], turns[1::2], strict=True))


def test_every_answer_is_right_and_follows_the_system_message() -> None:
    seen = set()
    for conversation in EXAMPLES:
        system = system_of(conversation)
        for question, answer in pairs_of(conversation):
            pattern, oracle = only_match(ORACLES, question.text)
            expected = oracle(question.text)
            if system:
                expected = only_match(STYLE_ORACLES, system)[1](expected)
            assert (question.role, answer.role) == ("user", "assistant")
            assert answer.text == expected, question.text
            seen.add(pattern)
    assert len(seen) == len(ORACLES) == len(TASKS)


def test_the_mixture_is_as_described() -> None:
    number = len(EXAMPLES)
    assert 0.2 < sum(bool(system_of(c)) for c in EXAMPLES) / number < 0.3
    assert 0.15 < sum(len(pairs_of(c)) > 1 for c in EXAMPLES) / number < 0.25
    assert max(len(pairs_of(c)) for c in EXAMPLES) == 3
    assert {system_of(c) for c in EXAMPLES} == {
        "",
        *(wording for wordings, _ in STYLES for wording in wordings),
    }
    assert len({tuple(m.text for m in c.messages) for c in EXAMPLES}) > 0.95 * number
    assert 0.2 < sum(any(m.input for m in c.messages) for c in EXAMPLES) / number < 0.5


def test_instructions_are_three_to_five_times_as_long_as_outputs() -> None:
    lengths = {"user": 0, "assistant": 0, "system": 0}
    for message in (message for conversation in EXAMPLES for message in conversation.messages):
        lengths[message.role] += len(message.text)
    assert 3 < (lengths["user"] + lengths["system"]) / lengths["assistant"] < 5


def test_conversations_are_short_and_ascii() -> None:
    sizes = sorted(sum(len(m.text.encode("ascii")) for m in c.messages) for c in EXAMPLES)
    assert sizes[0] > 30
    assert sizes[len(sizes) * 95 // 100] < 250


def test_an_example_depends_on_seed_and_index_alone() -> None:
    source = GeneratedSource(50, seed=3)
    assert source[17] == source[17] == GeneratedSource(1000, seed=3)[17]
    assert source[-1] == source[49]
    assert source[17].messages != GeneratedSource(50, seed=4)[17].messages
    assert len(list(source)) == len(source) == 50
    assert source[0].id == "generated-3-0"
    with pytest.raises(IndexError):
        source[50]


def test_the_set_is_the_same_on_every_machine_and_python_version() -> None:
    """A change here changes the data of every run on the generated set: say so in the changelog."""
    text = "\n".join(f"{m.role}: {m.text}" for c in EXAMPLES[:200] for m in c.messages)
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "73c7887bd26cd1f2960059e0caac56cc2e5daa455acd87e148a6001a65211035"
    )
