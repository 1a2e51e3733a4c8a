"""BLEU, its intervals and differences, against sacrebleu on texts that are drawn one by one."""

import numpy as np
import pytest

from im_jax.analysis.bleu import Bleu, bleu, self_bleu
from im_jax.analysis.estimated import BleuOfAnswers

sacrebleu = pytest.importorskip("sacrebleu")

WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "who", "is", "there", "again", "."]


def texts(seed: int, like: list[str] | None = None, changed: float = 1.0) -> list[str]:
    """Twenty random texts, or texts of which so many words are others'."""
    rng = np.random.default_rng(seed)
    if like is None:
        return [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 12, 20)]
    return [" ".join(rng.choice(WORDS) if rng.random() < changed else w for w in x.split()) for x in like]


REFERENCES = texts(0)
GOOD, POOR = texts(1, REFERENCES, 0.2), texts(2, REFERENCES, 0.5)
DRAWS = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), 1000)


def drawn(answers: list[str]) -> np.ndarray:
    """BLEU of each draw of texts, as they are."""
    scores = []
    for times in DRAWS:
        chosen = np.repeat(np.arange(20), times)
        references = [REFERENCES[at] for at in chosen]
        scores.append(sacrebleu.corpus_bleu([answers[at] for at in chosen], [references]).score)
    return np.asarray(scores)


def test_bleu_is_sacrebleus() -> None:
    found = bleu(POOR, REFERENCES)
    metric = sacrebleu.metrics.BLEU()
    assert found.value == metric.corpus_score(POOR, [REFERENCES]).score
    assert found.signature == str(metric.get_signature())
    assert bleu(["", *POOR], ["a", *REFERENCES]).value < found.value, "an empty answer is counted"
    assert bleu([""], ["a b"]).value == 0


def test_a_set_learned_by_heart_has_bleu_100_whatever_is_drawn() -> None:
    long = [f"{text} and so on and on" for text in REFERENCES]
    found = bleu(long, long)
    assert found.value == pytest.approx(100) and found.interval() == pytest.approx((100, 100))


def test_intervals_are_of_texts_drawn_again() -> None:
    scores = drawn(POOR)
    found = BleuOfAnswers("BLEU", "%", bleu(POOR, REFERENCES), [str(at) for at in range(20)])
    np.testing.assert_allclose(found.interval(), np.quantile(scores, (0.025, 0.975)), rtol=1e-12)
    assert found.estimate().stderr == pytest.approx(np.std(scores, ddof=1), rel=1e-12)
    alone = BleuOfAnswers("BLEU", "%", bleu(["a"], ["a"]), ["0"])
    assert alone.interval() is None and alone.as_record()["stderr"] is None


def test_a_difference_is_of_the_same_texts() -> None:
    ids = [str(at) for at in range(20)]
    first, second = (BleuOfAnswers("BLEU", "%", bleu(each, REFERENCES), ids) for each in (POOR, GOOD))
    found = first.to(second, "bleu")
    differences = drawn(GOOD) - drawn(POOR)
    assert found.value == second.bleu.value - first.bleu.value > 0
    np.testing.assert_allclose(found.interval, np.quantile(differences, (0.025, 0.975)), rtol=1e-9)
    far = np.sum(np.abs(differences - differences.mean()) >= found.value)
    assert found.p == (far + 1) / 1001 < 0.05
    assert first.to(first, "bleu").p == 1 and first.to(first, "bleu").interval == (0, 0)


def test_no_answers_have_no_counts() -> None:
    assert isinstance(bleu([], []), Bleu) and bleu([], []).counts.shape == (0, 10)


def test_alike_texts_have_a_high_self_bleu() -> None:
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(100)
    assert self_bleu(["a b c d e", "f g h i j"]) < 5
    assert np.isnan(self_bleu(["alone"]))
