"""Kinds of answers, by hand, and shares against counting."""

import pytest

from im_jax.studies.rewrites.scoring import Example, Kind, kind_of, score

# ab -> xy; the second place of ab is at 4
OP = Example(left="ab", right="xy", input="cabcabc", answer="cxycabc", occurrences=2, family="free")
LONGER = Example(left="ab", right="xyz", input="cabc", answer="cxyzc", occurrences=1, family="free")
NO_OP = Example(left="ab", right="xy", input="cacbc", answer="cacbc", occurrences=0, family="mirrored_k2")
FAR = Example(left="ab", right="xy", input="dccde", answer="dccde", occurrences=0, family="free")


@pytest.mark.parametrize(
    ("example", "given", "kind"),
    [
        (OP, "cxycabc", Kind.RIGHT),
        (OP, "cabcabc", Kind.COPIED),
        (OP, "cabcxyc", Kind.WRONG_PLACE),
        (OP, "cabxybc", Kind.WRONG_PLACE),
        (OP, "cxzcabc", Kind.WRONG_STRING),
        (OP, "cxycab", Kind.WRONG_LENGTH),
        (OP, "", Kind.WRONG_LENGTH),
        (OP, "cxycabd", Kind.OTHER),
        (LONGER, "cxyzc", Kind.RIGHT),
        (LONGER, "cabc", Kind.COPIED),
        (LONGER, "xyzbc", Kind.WRONG_PLACE),
        (LONGER, "cxxxc", Kind.WRONG_STRING),
        (LONGER, "cxyc", Kind.WRONG_LENGTH),
        (NO_OP, "cacbc", Kind.RIGHT),
        (NO_OP, "xycbc", Kind.REWRITTEN),
        (NO_OP, "cacbd", Kind.OTHER),
        (NO_OP, "cxcbc", Kind.LETTERS),
        (NO_OP, "cxcyc", Kind.LETTERS),
        (NO_OP, "cycbc", Kind.OTHER),
        (OP, "cxycxbc", Kind.LETTERS),
        (OP, "cxycayc", Kind.LETTERS),
        (OP, "cabcayc", Kind.OTHER),
        (LONGER, "cxyzy", Kind.OTHER),
        (NO_OP, "cacb", Kind.WRONG_LENGTH),
    ],
)
def test_answers_are_told_apart(example: Example, given: str, kind: Kind) -> None:
    assert kind_of(example, given) is kind


def test_shares_are_of_their_groups() -> None:
    row = score([OP, OP, LONGER, NO_OP, NO_OP], ["cxycabc", "cabcabc", "cxyzc", "cacbc", "cacb"])
    assert row == {
        "accuracy": 3 / 5,
        "has_op": 2 / 3,
        "no_op": 1 / 2,
        "no_op_near": 1 / 2,
        "occurrences_1": 1.0,
        "occurrences_2": 1 / 2,
        "family_free": 2 / 3,
        "family_mirrored_k2": 1 / 2,
        "errors/copied": 1 / 5,
        "errors/wrong_place": 0,
        "errors/wrong_string": 0,
        "errors/rewritten": 0,
        "errors/letters": 0,
        "errors/wrong_length": 1 / 5,
        "errors/other": 0,
        "copying": 2 / 5,
        "examples": 5,
    }


def test_strings_without_the_left_side_are_told_apart_by_its_letters() -> None:
    row = score([NO_OP, NO_OP, FAR, FAR, FAR, OP], ["cxcbc", "cacbc", "dccde", "dcxde", "dccde", "cxycabc"])
    assert (row["no_op_near"], row["no_op_far"]) == (1 / 2, 2 / 3)
    assert (row["errors/letters"], row["errors/other"]) == (1 / 6, 1 / 6)


def test_a_model_that_copies_scores_the_share_of_no_ops() -> None:
    examples = [OP, LONGER, NO_OP]
    row = score(examples, [example.input for example in examples])
    assert row["accuracy"] == row["copying"] == pytest.approx(1 / 3)
    assert (row["has_op"], row["no_op"]) == (0.0, 1.0)
