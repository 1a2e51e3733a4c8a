"""What every tokenizer promises: offsets, decoding, special tokens, batches."""

import numpy as np
import pytest

from im_jax.data.tokenizers import Encoding, Tokenizer, make_tokenizer

GOLDEN_TEXT = "### Instruction:\nWhat's 12+7? naïve 你好\n\n### Response: 19"
HARD_TEXTS = [
    "", " ", "a", " a", "  a", "\n a", "▁a", "a</s>", "</s>", "</s> a", "<s>a</s>\nb</s> c<s>", "a<unk>b",
    "<<s>>", "naïve 你好 😀 𓀀 e\u0301", "tab\t\x00 \u00a0x\r\n", GOLDEN_TEXT,
]  # fmt: skip


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make_tokenizer("bytes") if request.param == "bytes" else request.getfixturevalue(request.param)


KINDS = ("bytes", "small_bpe", "small_sentencepiece", "small_llama2c", "gpt2", "mistral", "stories")
each_tokenizer = pytest.mark.parametrize("tokenizer", KINDS, indirect=True)


@each_tokenizer
def test_offsets_cover_the_text_in_order(tokenizer: Tokenizer) -> None:
    for text in HARD_TEXTS:
        encoding = tokenizer.encode(text)
        assert (np.diff(encoding.starts) >= 0).all()
        assert (encoding.starts <= encoding.ends).all()
        covered = np.zeros(len(text), bool)
        for start, end in zip(encoding.starts, encoding.ends, strict=True):
            covered[start:end] = True
        assert covered.all(), text


@each_tokenizer
def test_offsets_point_at_the_text_of_each_token(tokenizer: Tokenizer) -> None:
    text = "Say hi, naïve 你.\n</s>"
    encoding = tokenizer.encode(text)
    for token_id, start, end in zip(*encoding, strict=True):
        piece = tokenizer.piece(int(token_id))
        if piece.isascii() and not piece.startswith("<0x"):
            assert piece.strip() == text[start:end].strip()


@each_tokenizer
def test_decoding_gives_the_text_back(tokenizer: Tokenizer) -> None:
    for text in ("Say hi, naïve 你 😀.\n\n  Done", GOLDEN_TEXT):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@each_tokenizer
def test_special_tokens_in_text_are_recognised_and_hidden_when_asked(tokenizer: Tokenizer) -> None:
    eos = tokenizer.eos_text
    assert eos is not None
    ids = tokenizer.encode(f"a{eos}\nb").ids
    assert tokenizer.eos_id in ids
    assert tokenizer.eos_id in tokenizer.special_ids
    assert tokenizer.decode(ids) == "a\nb"
    assert tokenizer.decode(ids, skip_special=False) == f"a{eos}\nb"


@each_tokenizer
def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer) -> None:
    for text, encoding in zip(HARD_TEXTS, tokenizer.encode_batch(HARD_TEXTS), strict=True):
        for ours, alone in zip(encoding, tokenizer.encode(text), strict=True):
            assert ours.dtype == np.int32
            np.testing.assert_array_equal(ours, alone)


@pytest.mark.parametrize("tokenizer", KINDS[1:], indirect=True)
def test_pieces_are_readable(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.piece(int(i)) for i in tokenizer.encode("a the 42\n你").ids]
    assert "\n" in pieces or "<0x0A>" in pieces
    assert any(piece in (" t", " th", " the") for piece in pieces)


def test_bytes() -> None:
    encoding = make_tokenizer("bytes").encode("aé</s>")
    expected = Encoding(np.array([97, 195, 169, 257]), np.array([0, 1, 1, 2]), np.array([1, 2, 2, 6]))
    for ours, column in zip(encoding, expected, strict=True):
        np.testing.assert_array_equal(ours, column)
    assert [make_tokenizer("bytes").piece(i) for i in (10, 97, 195, 257)] == ["\n", "a", "<0xC3>", "</s>"]
