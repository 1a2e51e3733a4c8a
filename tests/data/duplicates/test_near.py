"""Near-duplicate prompts against all pairs compared."""

import numpy as np

from im_jax.data.duplicates.digests import digests
from im_jax.data.duplicates.finding import first_of_each
from im_jax.data.duplicates.near import THRESHOLD, jaccard, near_duplicates, pieces_of
from im_jax.data.records.conversation import Conversation, Message

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]


def texts(count: int, seed: int) -> list[str]:
    """Random texts, a third of them copies of earlier ones with a word or two changed."""
    rng = np.random.default_rng(seed)
    made: list[str] = []
    for number in range(count):
        words = [WORDS[n] for n in rng.integers(0, len(WORDS), 30)]
        if number and rng.random() < 0.35:
            words = made[int(rng.integers(0, number))].split()
            for _ in range(int(rng.integers(0, 5))):
                words[int(rng.integers(0, len(words)))] = WORDS[int(rng.integers(0, len(WORDS)))]
        made.append(" ".join(words))
    return made


def by_all_pairs(made: list[str]) -> list[int]:
    """By sets of pieces as text, and every kept one compared."""
    sets = [{t[i : i + 5] for i in range(max(len(t) - 4, 1))} for t in made]
    like: list[int] = []
    for number, mine in enumerate(sets):
        near = (
            other
            for other in range(number)
            if like[other] < 0 and len(mine & sets[other]) / len(mine | sets[other]) >= THRESHOLD
        )
        like.append(next(near, -1))
    return like


def test_near_duplicates_are_those_of_all_pairs() -> None:
    for seed in range(4):
        made = texts(150, seed)
        expected = by_all_pairs(made)
        assert near_duplicates(len(made), made.__getitem__).tolist() == expected
        assert 10 < sum(other >= 0 for other in expected) < 100


def test_case_and_white_space_do_not_count() -> None:
    made = ["What  is\nthis thing?", "what is THIS thing?", "", " ", "ab", "AB", "something else entirely"]
    assert near_duplicates(len(made), made.__getitem__).tolist() == [-1, 0, -1, 2, -1, 4, -1]


def test_pieces_and_their_share_are_those_of_sets_of_text() -> None:
    a, b = "the quick brown fox jumps", "the quick brown cat jumps"
    expected = [{t[i : i + 5] for i in range(len(t) - 4)} for t in (a, b)]
    assert len(pieces_of(a)) == len(expected[0])
    assert jaccard(pieces_of(a), pieces_of(b)) == len(expected[0] & expected[1]) / len(
        expected[0] | expected[1]
    )


def chat(*texts: str, role: str = "user") -> Conversation:
    roles = [role, "assistant"]
    return Conversation("", tuple(Message(roles[n % 2], text) for n, text in enumerate(texts)), "")


def test_digests_are_equal_for_the_same_texts_alone() -> None:
    same = digests(chat("Say  hi", "Hi"))
    assert digests(chat("say hi\n", "hi")) == same
    other_answer = digests(chat("say hi", "ho"))
    assert other_answer.prompt == same.prompt and other_answer.whole != same.whole
    assert digests(chat("say hi", "hi", role="system")).prompt != same.prompt
    assert digests(chat("say", "hi hi")).whole != digests(chat("say hi", "hi")).whole


def test_the_first_of_each_digest_is_that_of_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    for count, values in ((0, 1), (1, 1), (50, 5), (500, 400), (500, 10**9)):
        drawn = rng.integers(0, values, count).astype(np.uint64) * np.uint64(2**60 // values)
        first: dict[int, int] = {}
        expected = [first.setdefault(value, number) for number, value in enumerate(drawn.tolist())]
        assert first_of_each(drawn).tolist() == expected
