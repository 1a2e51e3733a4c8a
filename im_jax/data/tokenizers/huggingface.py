"""A `tokenizer.json` of the Hugging Face tokenizers library."""

import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, SupportsIndex

import numpy as np
import tokenizers

from im_jax.data.tokenizers.added import AddedToken, checked_id, read_beside, token_text
from im_jax.data.tokenizers.boundaries import words_alone
from im_jax.data.tokenizers.interface import Encoding, Encodings, bounds_of
from im_jax.data.tokenizers.named import with_named
from im_jax.data.tokenizers.words import WordEncoder
from im_jax.errors import DataError

# Used only where neither tokenizer_config.json nor the post-processor tells.
_USUAL_BOS: Final = ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>")
_USUAL_EOS: Final = ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>")


def load_huggingface(file: pathlib.Path) -> "HuggingFaceTokenizer":
    """Read a `tokenizer.json`, and the files beside it that tell of added and special tokens.

    Raises:
        DataError: it is not a tokenizer, or the files contradict each other.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(file.read_bytes())
    except Exception as error:  # the library raises nothing narrower
        raise DataError(
            f"tokenizer.path: {file} is no tokenizer of the tokenizers library ({error}); "
            f"set --config.tokenizer.path to a tokenizer.json"
        ) from error
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if not vocabulary:
        raise DataError(
            f"{file} has an empty vocabulary; set --config.tokenizer.path to a whole tokenizer.json"
        )
    for content, token_id in vocabulary.items():
        checked_id(file, content, token_id)
    config, added = read_beside(file)
    own = [
        AddedToken(
            i, token.content, token.special, token.lstrip, token.rstrip, token.single_word, token.normalized
        )
        for i, token in tokenizer.get_added_tokens_decoder().items()
    ]
    ids = vocabulary | {token.content: token.id for token in added}
    _add(tokenizer, with_named(config, added, own, ids), own, file)
    return HuggingFaceTokenizer(tokenizer, config)


def _add(
    tokenizer: tokenizers.Tokenizer,
    added: Sequence[AddedToken],
    own: Sequence[AddedToken],
    file: pathlib.Path,
) -> None:
    """Add what stands in the files beside a tokenizer; where both have a token, the flags of these count."""
    for token in added:
        if token not in own:
            flags = token._asdict()
            del flags["id"], flags["content"]
            tokenizer.add_tokens([tokenizers.AddedToken(token.content, **flags)])
        # The library chooses the id of a new token: the next one that is free.
        if (given := tokenizer.token_to_id(token.content)) != token.id:
            raise DataError(
                f"tokenizer.path: the files beside {file} say that {token.content!r} is token {token.id}, "
                f"but with {file.name} it is {given}; correct one of the files"
            )


class HuggingFaceTokenizer:
    """Wraps a tokenizer of the tokenizers library. Its settings are changed: it is ours from now on.

    BOS and EOS are what the configuration says; else what the post-processor puts around a text; else
    the special token with a usual name.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
        before, after = _added_around(tokenizer)
        # Post-processors add tokens and trim spaces off offsets; truncation and padding change the text.
        tokenizer.post_processor = None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        added = tokenizer.get_added_tokens_decoder()
        self._tokenizer = tokenizer
        words = words_alone(tokenizer)
        self._words = None if words is None else WordEncoder(self._asked, words)
        self.vocab_size = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.trimming_ids = frozenset(i for i, token in added.items() if token.lstrip or token.rstrip)
        self.bos_text = self._boundary_text(config, "bos_token", before[:1], _USUAL_BOS)
        self.eos_text = self._boundary_text(config, "eos_token", after[-1:], _USUAL_EOS)
        self.bos_id = self._id("bos_token", self.bos_text)
        self.eos_id = self._id("eos_token", self.eos_text)
        habit = config.get("add_bos_token")
        self.adds_bos = self.bos_id is not None and (
            habit if isinstance(habit, bool) else before[:1] == [self.bos_id]
        )

    def encode(self, text: str) -> Encoding:
        """See `Tokenizer.encode`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> Encodings:
        """See `Tokenizer.encode_batch`."""
        return self._asked(texts) if self._words is None else self._words.encode(texts)

    def _asked(self, texts: Sequence[str]) -> Encodings:
        """The same, as the library tells it."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        bounds = bounds_of(map(len, encoded))
        size = int(bounds[-1])
        flatten = itertools.chain.from_iterable
        # One pass each: an array for each text would take as long as the rest of the encoding.
        ids = np.fromiter(flatten(each.ids for each in encoded), np.int32, size)
        pairs = np.fromiter(flatten(flatten(each.offsets for each in encoded)), np.int32, 2 * size)
        return Encodings(ids, pairs[::2].copy(), pairs[1::2].copy(), bounds)

    def decode(self, ids: Iterable[SupportsIndex], skip_special: bool = True) -> str:
        """See `Tokenizer.decode`."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=skip_special)

    def piece(self, token_id: int) -> str:
        """See `Tokenizer.piece`."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return f"<unused {token_id}>"
        if self._tokenizer.decoder is None or token_id in self.special_ids:
            return token
        # Decoders drop the space that opens a text, so the token is decoded after another one.
        text = self._tokenizer.decoder.decode(["a", token])[1:]
        return token if "\N{REPLACEMENT CHARACTER}" in text else text

    def _boundary_text(
        self, config: Mapping[str, Any], key: str, around: list[int], usual: tuple[str, ...]
    ) -> str | None:
        if key in config:
            return token_text(config[key])
        if around:
            return self._tokenizer.id_to_token(around[0])
        special = {self._tokenizer.id_to_token(i) for i in self.special_ids}
        return next((text for text in usual if text in special), None)

    def _id(self, key: str, text: str | None) -> int | None:
        if text is None:
            return None
        token_id = self._tokenizer.token_to_id(text)
        if token_id is None:
            raise DataError(
                f"tokenizer.path: tokenizer_config.json says {key} is {text!r}, but tokenizer.json "
                f"has no such token; correct one of the two files"
            )
        return token_id


def _added_around(tokenizer: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """Ids that the post-processor adds before and after a text."""
    encoded = tokenizer.encode("a", add_special_tokens=True)
    text = [i for i, special in enumerate(encoded.special_tokens_mask) if not special]
    if not text:
        return [], []
    return encoded.ids[: text[0]], encoded.ids[text[-1] + 1 :]
