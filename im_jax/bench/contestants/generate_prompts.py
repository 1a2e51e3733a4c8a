"""What the benchmark of generation asks: real prompts, as token ids."""

from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.bench.case import Case
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError
from im_jax.evaluation.records import read_records

_FIELDS: Final = ("turns", "instruction", "prompt")
"""Of MT-Bench's questions, of AlpacaEval's outputs, of prompts for `im_jax.generate`."""


def prompts(case: Case) -> list[jt.Int32[np.ndarray, " _"]]:
    """The first prompts of the case's files, behind a BOS where the tokenizer writes one.

    Raises:
        DataError: a record has no prompt, or there are fewer than the case asks for.
    """
    tokenizer = make_tokenizer(case.tokenizer)
    begin = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
    texts = [
        _text(item.value, item.origin)
        for path in case.data.split(",")
        for item in read_records(path, {}, "data")
    ]
    if len(texts) < case.shape[0]:
        raise DataError(
            f"--data has {len(texts)} prompts, and --shape asks for {case.shape[0]}; name more files"
        )
    return [np.array([*begin, *tokenizer.encode(text).ids], np.int32) for text in texts[: case.shape[0]]]


def _text(record: dict[str, Any], origin: str) -> str:
    for name in _FIELDS:
        value = record.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str) and first:
            return first
    raise DataError(f"{origin}: has no text in any of {', '.join(_FIELDS)}")


def positions(asked: list[jt.Int32[np.ndarray, " _"]], new: int) -> int:
    """That a model needs to answer them with `new` tokens each."""
    return max(map(len, asked)) + new
