"""How text becomes tokens: one interface over four kinds of tokenizer.

    kind            recognised by                                     encodes with
    bytes           the name `bytes`                                  NumPy
    Hugging Face    a `tokenizer.json`, or a directory that has one   the tokenizers library
    SentencePiece   a serialised model, whatever the file is called   the sentencepiece library
    llama2.c        a binary vocabulary such as `tok512.bin`          the sentencepiece library

A text is always tokenised once and whole. Tokens come with character offsets, from which their classes
are derived (`im_jax.data.encoding`); nothing here adds a beginning- or end-of-sequence token.
"""

from im_jax.data.tokenizers.interface import Encoding, Encodings, Tokenizer, bounds_of
from im_jax.data.tokenizers.loading import make_tokenizer, tokenizer_path

__all__ = ["Encoding", "Encodings", "Tokenizer", "bounds_of", "make_tokenizer", "tokenizer_path"]
