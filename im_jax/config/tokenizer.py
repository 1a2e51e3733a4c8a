"""`tokenizer`: how text becomes tokens."""

from dataclasses import dataclass

from im_jax.config.record import setting


@dataclass
class TokenizerConfig:
    """How text becomes tokens."""

    path: str = setting(
        "bytes",
        "`bytes`, or a path: `tokenizer.json` (or its directory), SentencePiece `.model`, llama2.c `.bin`.",
        see="data.md#tokenizers",
    )
