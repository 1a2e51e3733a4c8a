"""`tokenizer`: how text becomes tokens."""

from dataclasses import dataclass

from im_jax.config.record import setting


@dataclass
class TokenizerConfig:
    """How text becomes tokens."""

    path: str = setting(
        "",
        "`bytes`, or a path: `tokenizer.json` (or its directory), SentencePiece `.model`, llama2.c `.bin`. "
        "Empty: the one beside `model.path`, or bytes where the model is from scratch.",
        see="data.md#tokenizers",
    )
