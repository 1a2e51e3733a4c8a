"""Copying and diversity of texts, against plain definitions."""

import numpy as np

from im_jax.analysis.texts import distinct, output_grams, share_within, token_grams
from im_jax.data.dataset import EncodedDataset
from im_jax.data.encoding import EncodedExample
from im_jax.token_classes import TokenClass


def test_alike_texts_have_few_distinct_words() -> None:
    assert distinct(["a b a b", "a b"], 2) == 2 / 4
    assert np.isnan(distinct(["a"], 2))


def test_grams_are_equal_where_tokens_are() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 3, 2000)
    for n in (1, 2, 5):
        found = token_grams(tokens, n)
        plain = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
        assert len(set(found.tolist())) == len(set(plain))
        assert len(set(zip(plain, found.tolist(), strict=True))) == len(set(plain))
    assert len(token_grams(tokens[:3], 4)) == 0


def test_grams_of_outputs_cross_neither_messages_nor_examples() -> None:
    user, says, stop = TokenClass.USER, TokenClass.ASSISTANT, TokenClass.STOP
    kinds = [says, says, user, says, says], [TokenClass.LAST_ASSISTANT, TokenClass.LAST_ASSISTANT, stop]
    examples = [
        EncodedExample(
            id=str(number),
            tokens=np.array(tokens, np.int32),
            classes=np.array(classes, np.uint8),
            weights=np.ones(len(tokens), np.float32),
            full_length=len(tokens),
            special_in_content=0,
        )
        for number, (tokens, classes) in enumerate(zip(([1, 2, 3, 4, 5], [6, 7, 8]), kinds, strict=True))
    ]
    known = output_grams(EncodedDataset.from_examples(examples), 2)
    assert share_within(token_grams(np.arange(1, 9), 2), known) == (3, 7)  # 1 2, 4 5, 6 7
