"""Substrings in bulk, against Python's own strings."""

import numpy as np
import pytest

from im_jax.studies.rewrites.examples.families import source_letters
from im_jax.studies.rewrites.examples.strings import count_and_first, occurrences, replace_at


def letters(texts: list[str]) -> np.ndarray:
    """Rows of letter numbers; all texts have the same length."""
    return np.array([[ord(c) - ord("a") for c in text] for text in texts], np.uint8).reshape(len(texts), -1)


def strings(rows: np.ndarray) -> list[str]:
    return ["".join(chr(ord("a") + c) for c in row) for row in rows]


def random_texts(rng: np.random.Generator, count: int, length: int, alphabet: int) -> list[str]:
    return strings(rng.integers(0, alphabet, (count, length)))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("new", [0, 1, 3, 9])
@pytest.mark.parametrize("alphabet", [2, 3])
def test_replacing_the_first_occurrence_is_str_replace(width: int, new: int, alphabet: int) -> None:
    rng = np.random.default_rng(width * 100 + new)
    texts, patterns = random_texts(rng, 300, 9, alphabet), random_texts(rng, 300, width, alphabet)
    by = strings(rng.integers(0, 26, (300, new)))
    count, first = count_and_first(letters(texts), letters(patterns))
    found = occurrences(letters(texts), letters(patterns))
    places = [[p for p in range(9) if t.startswith(x, p)] for t, x in zip(texts, patterns, strict=True)]
    assert list(zip(*(a.tolist() for a in found), strict=True)) == [
        (i, p) for i, ps in enumerate(places) for p in ps
    ]
    assert count.tolist() == [len(p) for p in places]
    assert first.tolist() == [t.find(x) for t, x in zip(texts, patterns, strict=True)]
    answers, lengths = replace_at(letters(texts), first, width, letters(by))
    got = [strings(row[None, :n])[0] for row, n in zip(answers, lengths, strict=True)]
    assert got == [t.replace(x, y, 1) for t, x, y in zip(texts, patterns, by, strict=True)]
    assert not np.any(answers[np.arange(answers.shape[1]) >= lengths[:, None]])


def test_the_leftmost_of_overlapping_occurrences_is_replaced() -> None:
    for text, x, y, answer in [
        ("aaa", "aa", "b", "ba"),
        ("ababa", "aba", "x", "xba"),
        ("caaba", "aa", "bac", "cbacba"),
    ]:
        _, first = count_and_first(letters([text]), letters([x]))
        rows, lengths = replace_at(letters([text]), first, len(x), letters([y]))
        assert strings(rows[:, : lengths[0]]) == [answer]


def test_a_pattern_longer_than_the_text_does_not_occur() -> None:
    count, first = count_and_first(letters(["ab"]), letters(["abc"]))
    assert count.tolist() == [0] and first.tolist() == [-1]


@pytest.mark.parametrize(
    ("family", "base", "k", "text"),
    [
        ("repeated", "abc", 3, "aaabbbccc"),
        ("periodic", "abc", 2, "abcabc"),
        ("mirrored", "abc", 3, "abccbaabc"),
        ("mirrored", "abc", 2, "abccba"),
        ("repeated", "abcd", 1, "abcd"),
        ("periodic", "abcd", 1, "abcd"),
        ("mirrored", "abcd", 1, "abcd"),
        ("free", "abcd", 1, "abcd"),
    ],
)
def test_families_are_those_of_the_paper(family: str, base: str, k: int, text: str) -> None:
    assert "".join(base[i] for i in source_letters(family, len(text), k)) == text
