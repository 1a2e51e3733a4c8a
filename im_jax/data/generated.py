"""The embedded instruction set: small tasks on words and numbers, for a demonstration without any files.

A byte-level model of a million parameters learns part of it in minutes on a CPU. Instructions are about
four times as long as outputs, the regime that Instruction Modelling is for. About a quarter of the
conversations open with a system message that changes the style of every answer, and about a fifth
have two or three turns.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, SupportsIndex

from im_jax.data.records.conversation import Conversation, Message

# fmt: off
WORDS: Final = (
    "apple", "bread", "candle", "garden", "stone", "river", "window", "summer", "winter", "orange",
    "silver", "planet", "forest", "bridge", "paper", "music", "letter", "yellow", "mirror",
    "pocket", "rabbit", "tiger", "button", "carpet", "dinner", "engine", "feather", "guitar",
    "hammer", "island", "jacket", "kitten", "lemon", "market", "needle", "ocean", "pencil", "queen",
    "rocket", "sailor", "table", "valley", "wagon", "zebra", "cloud", "dream", "flame", "grass",
    "horse", "knife", "light", "money", "night", "plant",
)
# fmt: on


class Task(NamedTuple):
    """A family of questions."""

    phrasings: tuple[str, ...]
    """Ways to ask; what follows an empty line becomes the `input` of the message."""
    draw: Callable[[random.Random], tuple[dict[str, Any], str]]
    """Values for the braces of the phrasings, and the answer."""


def _draw_text(rng: random.Random, fewest: int, most: int) -> str:
    return " ".join(rng.sample(WORDS, rng.randint(fewest, most)))


def _copy(rng: random.Random) -> tuple[dict[str, Any], str]:
    text = _draw_text(rng, 2, 5)
    return {"text": text}, text


def _reverse(rng: random.Random) -> tuple[dict[str, Any], str]:
    text = _draw_text(rng, 1, 3)
    return {"text": text}, text[::-1]


def _upper(rng: random.Random) -> tuple[dict[str, Any], str]:
    text = _draw_text(rng, 1, 4)
    return {"text": text}, text.upper()


def _sort_words(rng: random.Random) -> tuple[dict[str, Any], str]:
    words = rng.sample(WORDS, rng.randint(2, 4))
    return {"words": ", ".join(words)}, ", ".join(sorted(words))


def _sort_letters(rng: random.Random) -> tuple[dict[str, Any], str]:
    word = rng.choice(WORDS)
    return {"word": word}, " ".join(sorted(word))


def _count_letter(rng: random.Random) -> tuple[dict[str, Any], str]:
    text = _draw_text(rng, 2, 2)
    letter = rng.choice(text.replace(" ", ""))
    return {"text": text, "letter": letter}, f"{letter}: {text.count(letter)}"


def _first_words(rng: random.Random) -> tuple[dict[str, Any], str]:
    text = _draw_text(rng, 3, 4)
    return {"text": text}, " ".join(text.split()[:2])


def _last_words(rng: random.Random) -> tuple[dict[str, Any], str]:
    text = _draw_text(rng, 3, 4)
    return {"text": text}, " ".join(text.split()[-2:])


def _add(rng: random.Random) -> tuple[dict[str, Any], str]:
    a, b = rng.randint(1, 40), rng.randint(1, 40)
    return {"a": a, "b": b}, f"{a} + {b} = {a + b}"


def _repeat(rng: random.Random) -> tuple[dict[str, Any], str]:
    word, times = rng.choice(WORDS), rng.randint(2, 4)
    return {"word": word, "times": times}, " ".join([word] * times)


def _replace(rng: random.Random) -> tuple[dict[str, Any], str]:
    word = rng.choice(WORDS)
    old = rng.choice(word)
    new = rng.choice("aeiouxyz".replace(old, ""))
    return {"word": word, "old": old, "new": new}, word.replace(old, new)


def _larger(rng: random.Random) -> tuple[dict[str, Any], str]:
    a, b = rng.sample(range(1, 100), 2)
    return {"a": a, "b": b}, f"yes, {a} > {b}" if a > b else f"no, {a} < {b}"


def _alphabetical(rng: random.Random) -> tuple[dict[str, Any], str]:
    a, b = rng.sample(WORDS, 2)
    return {"a": a, "b": b}, f"yes, {a} comes first" if a < b else f"no, {b} comes first"


TASKS: Final = (
    Task(
        (
            "Please copy the following text exactly: {text}",
            'Write "{text}" once more, without any change.',
            "Repeat the text below word for word.\n\n{text}",
        ),
        _copy,
    ),
    Task(
        (
            'How do you write "{text}" backwards?',
            "Please spell this from right to left: {text}",
            "Reverse the order of all letters.\n\n{text}",
        ),
        _reverse,
    ),
    Task(
        (
            'Please write "{text}" in capital letters.',
            "Make every letter of this text a capital: {text}",
            "Rewrite the text below in upper case.\n\n{text}",
        ),
        _upper,
    ),
    Task(
        (
            "Put these words into alphabetical order: {words}",
            "How would a dictionary order the words {words}?",
            "Sort the words below from A to Z.\n\n{words}",
        ),
        _sort_words,
    ),
    Task(
        (
            'List the letters of "{word}" from A to Z.',
            "Sort all letters of this word: {word}",
            "Order the letters of the word below alphabetically.\n\n{word}",
        ),
        _sort_letters,
    ),
    Task(
        (
            'How often does the letter "{letter}" occur in "{text}"?',
            'Count the letter "{letter}" in this text: {text}',
            'How many times is "{letter}" used below?\n\n{text}',
        ),
        _count_letter,
    ),
    Task(
        (
            'What are the first two words of "{text}"?',
            "Give me only the first two words of this: {text}",
            "With which two words does the text below begin?\n\n{text}",
        ),
        _first_words,
    ),
    Task(
        (
            'What are the last two words of "{text}"?',
            "Give me only the last two words of this: {text}",
            "With which two words does the text below end?\n\n{text}",
        ),
        _last_words,
    ),
    Task(
        (
            "What is the sum of {a} and {b}?",
            "Please calculate {a} plus {b}.",
            "I had {a} coins and was given {b} more. How many are there now?",
        ),
        _add,
    ),
    Task(
        (
            'Please write the word "{word}" {times} times in a row.',
            "Say this word {times} times: {word}",
            "Write the word below {times} times.\n\n{word}",
        ),
        _repeat,
    ),
    Task(
        (
            'Replace every "{old}" with "{new}" in the word "{word}".',
            'What is "{word}" if each "{old}" becomes "{new}"?',
            'Change "{old}" to "{new}" in the word below.\n\n{word}',
        ),
        _replace,
    ),
    Task(
        (
            "Is {a} larger than {b}? Say yes or no.",
            "Yes or no: is the number {a} greater than {b}?",
            "Tell me whether {a} is more than {b}.",
        ),
        _larger,
    ),
    Task(
        (
            'Does "{a}" come before "{b}" in a dictionary?',
            "In alphabetical order, is {a} in front of {b}?",
            "Tell me whether {a} is sorted before {b}.",
        ),
        _alphabetical,
    ),
)

STYLES: Final[tuple[tuple[tuple[str, ...], Callable[[str], str]], ...]] = (
    (("Answer in capital letters.", "Use only capital letters when you answer."), str.upper),
    (("End every answer with a full stop.", "Close each answer with a full stop."), "{}.".format),
    (("Put every answer in brackets.", "Write your answers inside brackets."), "[{}]".format),
    (('Begin every answer with "Answer:".', 'Start each answer with "Answer:".'), "Answer: {}".format),
)
"""Wordings of a system message, and what it does to each answer."""


class GeneratedSource:
    """Conversation `i` depends on the seed and `i` alone, so a larger set begins with the smaller one."""

    skipped: Sequence[str] = ()
    left_out: Mapping[str, int] = MappingProxyType({})

    def __init__(self, num_examples: int, seed: int = 0):
        self._indices = range(num_examples)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: SupportsIndex) -> Conversation:
        example = self._indices[index]
        # Seeding by text hashes it with SHA-512: the same on every machine and Python version.
        rng = random.Random(f"{self._seed}/{example}")
        messages: list[Message] = []
        style: Callable[[str], str] = str
        if rng.random() < 0.25:
            wordings, style = rng.choice(STYLES)
            messages.append(Message("system", rng.choice(wordings)))
        for _ in range(rng.randint(2, 3) if rng.random() < 0.2 else 1):
            task = rng.choice(TASKS)
            values, answer = task.draw(rng)
            content, _, extra = rng.choice(task.phrasings).format(**values).partition("\n\n")
            messages += [Message("user", content, input=extra), Message("assistant", style(answer))]
        name = f"generated-{self._seed}-{example}"
        return Conversation(name, tuple(messages), name)
