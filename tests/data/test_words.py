"""A text tokenised word by word is the text tokenised as a whole, as the libraries do it."""

import random
from typing import Any

import pytest
import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers

from im_jax.data.tokenizers import words as words_module
from im_jax.data.tokenizers.boundaries import words_alone
from im_jax.data.tokenizers.huggingface import HuggingFaceTokenizer
from im_jax.data.tokenizers.interface import Encodings
from im_jax.data.tokenizers.words import WordEncoder
from tests.data.synthetic import chats

ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
MARKS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
PATTERNS = {
    "gpt2": [],
    "llama3": [
        ENDING + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL,
    ],
    "qwen2": [ENDING + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL],
    "gpt_oss": [
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL
    ],
    "deepseek": [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        rf"{MARKS}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|" + TAIL,
    ],
}
CHARACTERS = "aB1.'!<>|/   \n\r\t\u00e9e\u0301\u0301\u4f60\u00a0\u2003\u0085\x1c\u200b\u2581\U0001f600sdtl"
WORDS = [
    "Hello,",
    "don't",
    "'s",
    "12345",
    "world!",
    "x=1;",
    "<|end|>",
    "<mask>",
    "[a b]",
    "</s>",
    "\n\n",
    " ",
]


def texts(count: int = 3000) -> list[str]:
    rng = random.Random(0)
    contents = [message["content"] for chat in chats(60) for message in chat]
    made = ["".join(rng.choices(CHARACTERS, k=rng.randrange(14))) for _ in range(count)]
    joined = [rng.choice(["", " ", "  "]).join(rng.choices(WORDS + made[:40], k=5)) for _ in range(count)]
    return ["", " ", "a ", " a", *contents, *made, *joined]


def small(pattern: list[str], added: list[tokenizers.AddedToken] | None = None) -> tokenizers.Tokenizer:
    """A tokenizer of bytes, trained without any cuts, so that only its own keep words apart."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(Regex(each), "isolated") for each in pattern]
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not splits)
    uncut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = uncut
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["Hello, world! How are you? I do n't 's a b"] * 3 + texts(300), trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, own])
    tokenizer.add_tokens(added or [tokenizers.AddedToken("</s>", special=True)])
    return tokenizer


def assert_as_the_library(found: Encodings, library: tokenizers.Tokenizer, given: list[str]) -> None:
    for text, encoding, told in zip(given, found, library.encode_batch(given), strict=True):
        assert encoding.ids.tolist() == told.ids, text
        assert list(zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True)) == told.offsets, text


@pytest.mark.parametrize("family", list(PATTERNS))
def test_words_of_a_tokenizer_json_are_tokenised_as_in_their_text(family: str) -> None:
    library = small(PATTERNS[family])
    if family == "qwen2":
        library.normalizer = normalizers.NFC()
    assert words_alone(library) is not None
    given = texts()
    assert_as_the_library(HuggingFaceTokenizer(library, {}).encode_batch(given), library, given)


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word", "normalized"])
def test_added_tokens_reach_as_far_as_in_their_text(flag: str) -> None:
    tokens: list[Any] = [
        tokenizers.AddedToken("<|end|>", **{flag: True}),
        tokenizers.AddedToken("<mask>", special=True, **{flag: True}),
        tokenizers.AddedToken("12", **{flag: True}),
    ]
    library = small(PATTERNS["llama3"], tokens)
    assert words_alone(library) is not None
    given = texts()
    assert_as_the_library(HuggingFaceTokenizer(library, {}).encode_batch(given), library, given)


def test_a_tokenizer_that_could_differ_is_asked_for_whole_texts() -> None:
    plain = small([])
    assert words_alone(plain) is not None
    with_space = small([], [tokenizers.AddedToken("[a b]")])
    assert words_alone(with_space) is None
    unknown = small([r" ?\p{L}+ \p{L}+|\s+|\S"])
    assert words_alone(unknown) is None
    merged = small([])
    merged.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    assert words_alone(merged) is None
    prefixed = small([])
    prefixed.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert words_alone(prefixed) is None
    lowered = small([])
    lowered.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "_")])
    assert words_alone(lowered) is None
    dropping = small([])
    dropping.model.dropout = 0.1
    assert words_alone(dropping) is None
    for library in (with_space, unknown, merged, prefixed, lowered):
        given = texts(300)
        assert_as_the_library(HuggingFaceTokenizer(library, {}).encode_batch(given), library, given)


def test_each_word_is_tokenised_once() -> None:
    library, asked = small([]), list[str]()
    tokenizer = HuggingFaceTokenizer(library, {})

    def encode(given: Any) -> Encodings:
        asked.extend(given)
        return tokenizer.encode_batch(given)

    pattern = words_alone(library)
    assert pattern is not None
    encoder = WordEncoder(encode, pattern)
    encoder.encode(["a cat and a dog", "a dog"])
    encoder.encode(["and a cow", ""])
    assert asked == ["a", " cat", " and", " a", " dog", "and", " cow"]


def test_a_table_that_has_outgrown_its_bound_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "_MOST_WORDS", 50)
    library = small([])
    tokenizer = HuggingFaceTokenizer(library, {})
    given = texts(200)
    for start in range(0, len(given), 20):
        part = given[start : start + 20]
        assert_as_the_library(tokenizer.encode_batch(part), library, part)


def test_an_error_leaves_no_word_without_tokens() -> None:
    library, calls = small([]), 0
    tokenizer = HuggingFaceTokenizer(library, {})

    def fails_once(given: Any) -> Encodings:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise MemoryError
        return tokenizer.encode_batch(given)

    pattern = words_alone(library)
    assert pattern is not None
    encoder = WordEncoder(fails_once, pattern)
    with pytest.raises(MemoryError):
        encoder.encode(["a cat"])
    assert_as_the_library(encoder.encode(["a cat"]), library, ["a cat"])
