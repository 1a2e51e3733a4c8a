"""Mixtures and subsets: what is written, and what is drawn."""

import numpy as np
import pytest

from im_jax.data.mixture import Amount, Entry, occurrences, parse_mixture
from im_jax.data.subset import subset
from im_jax.errors import ConfigError


def test_a_mixture_is_read() -> None:
    text = """
        dolly = recipe:alpagasus_dolly_3k:files/dolly_3k.json.gz @ all
        gsm8k = gsm8k/train.jsonl.gz, more=of@it.jsonl@2_000; code=code/*.parquet@x0.5;lima=recipe:lima@x2
    """
    assert parse_mixture(text) == [
        Entry("dolly", "alpagasus_dolly_3k", "files/dolly_3k.json.gz", Amount()),
        Entry("gsm8k", "", "gsm8k/train.jsonl.gz, more=of@it.jsonl", Amount(examples=2000)),
        Entry("code", "", "code/*.parquet", Amount(times=0.5)),
        Entry("lima", "lima", "", Amount(times=2.0)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ; ", r"data\.mixture names no source; write NAME=FILES@AMOUNT"),
        ("a.jsonl@all", r"'a\.jsonl@all' has no `=` behind a name"),
        ("=a.jsonl@all", r"'' is no name"),
        ("1a=a.jsonl@all", r"'1a' is no name; use letters"),
        ("a b=a.jsonl@all", r"'a b' is no name"),
        ("a=a.jsonl", r"'a=a\.jsonl' does not say how much of it; end it with @all, @2000 or @x0\.5"),
        ("a=@all", r"'a=@all' names no files"),
        ("a=recipe:@all", r"names no recipe behind `recipe:`"),
        ("a=a.jsonl@", r"'' is no amount"),
        ("a=a.jsonl@some", r"'some' is no amount: all, a number such as 2000, or x0\.5"),
        ("a=a.jsonl@0.5", r"'0\.5' is no amount.*; x0\.5 is how often each example occurs"),
        ("a=a.jsonl@-3", r"'-3' is no amount"),
        ("a=a.jsonl@0", r"0 examples are none"),
        ("a=a.jsonl@x0", r"x0 must be above 0"),
        ("a=a.jsonl@x1e9", r"'x1e9' is no amount"),
        ("a=a.jsonl@x5000", r"x5000 must be above 0 and at most x1000"),
        ("a=a@all;b=b@all; a=c@all", r"two sources are called a"),
    ],
)
def test_each_malformed_piece_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_mixture(text)


def test_amounts_are_drawn_exactly() -> None:
    for count in (0, 1, 7, 1000):
        assert occurrences(count, Amount(), 0, "a").tolist() == [1] * count
        assert occurrences(count, Amount(times=2.0), 0, "a").tolist() == [2] * count
        half = occurrences(count, Amount(times=0.5), 0, "a")
        assert half.max(initial=0) <= 1 and half.sum() == round(count / 2)
        more = occurrences(count, Amount(times=1.25), 0, "a")
        assert more.min(initial=1) == 1 and more.sum() == count + round(count / 4)
    drawn = occurrences(1000, Amount(examples=100), 0, "a")
    assert drawn.sum() == 100 and drawn.max() == 1
    with pytest.raises(ConfigError, match=r"a has 10 usable examples, fewer than the 20 asked for; .* @x2"):
        occurrences(10, Amount(examples=20), 0, "a")


def test_draws_depend_on_seed_and_name_alone_and_are_nested() -> None:
    first = occurrences(1000, Amount(examples=100), 0, "a")
    assert (first == occurrences(1000, Amount(examples=100), 0, "a")).all()
    assert (first != occurrences(1000, Amount(examples=100), 1, "a")).any()
    assert (first != occurrences(1000, Amount(examples=100), 0, "b")).any()
    larger = occurrences(1000, Amount(examples=300), 0, "a")
    assert (larger >= first).all()


def test_a_subset_by_ratio_is_the_closest_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        instruction, output = rng.integers(1, 40, 200), rng.integers(0, 6, 200)
        chosen = subset(instruction, output, examples=50, ratio=5.0, seed=3)
        ratios = [i / o if o else 0.0 for i, o in zip(instruction, output, strict=True)]
        distances = [abs(ratio - 5.0) for ratio in ratios]
        assert sorted(distances[n] for n in chosen) == sorted(distances)[:50]
        assert (np.diff(chosen) > 0).all()


def test_a_subset_by_number_is_nested_and_seeded() -> None:
    words = np.ones(100, int)
    small, large = (subset(words, words, examples=n, ratio=None, seed=0) for n in (10, 60))
    assert len(small) == 10 and set(small) < set(large)
    assert set(small) != set(subset(words, words, examples=10, ratio=None, seed=1))
    assert subset(words, words, examples=0, ratio=None, seed=0).tolist() == list(range(100))
    with pytest.raises(ConfigError, match=r"data\.subset\.examples=101 is more than the 100"):
        subset(words, words, examples=101, ratio=None, seed=0)
