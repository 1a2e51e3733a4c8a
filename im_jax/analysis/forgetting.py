"""How likely plain text is to a model, paragraph by paragraph."""

import re
from collections.abc import Sequence

import jaxtyping as jt
import numpy as np

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.likelihood import Likelihoods
from im_jax.models.loaded import Model
from im_jax.stores import readable


def read_paragraphs(path: str, limit: int) -> list[str]:
    """The first paragraphs of a text file; blank lines part them.

    Raises:
        ConfigError: it cannot be read.
        DataError: there is nothing in it.
    """
    try:
        text = readable(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--text={path} cannot be read: {error}; give a text file in UTF-8") from None
    found = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not found:
        raise DataError(f"--text={path} holds no text; give a file with some paragraphs")
    return found[:limit]


def text_losses(
    model: Model, likelihoods: Likelihoods, paragraphs: Sequence[str]
) -> tuple[jt.Float64[np.ndarray, " P"], jt.Int64[np.ndarray, " P"]]:
    """NLL of each paragraph in nats, and its tokens; the first is not predicted where there is no BOS."""
    tokens = [model.tokenizer.encode(text).ids.tolist() for text in paragraphs]
    bos = model.tokenizer.bos_id
    if bos is None:
        firsts, tokens = [ids[:1] for ids in tokens], [ids[1:] for ids in tokens]
        sums = [likelihoods.rolling([ids], first[0])[0] for first, ids in zip(firsts, tokens, strict=True)]
    else:
        sums = likelihoods.rolling(tokens, bos)
    return -np.asarray(sums), np.asarray([len(ids) for ids in tokens])
