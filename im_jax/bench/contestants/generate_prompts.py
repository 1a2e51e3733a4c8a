"""What the benchmark of generation asks: real prompts, as token ids, and how long the answers are."""

import itertools
from typing import Any, Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.bench.case import Case
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import DataError
from im_jax.evaluation.records import read_records

_FIELDS: Final = ("turns", "instruction", "prompt")
"""Of MT-Bench's questions, of AlpacaEval's outputs, of prompts for `im_jax.generate`."""
_ANSWER: Final = "output"
"""Of AlpacaEval's outputs: what its model answered."""


class Asked(NamedTuple):
    """A prompt, and how many tokens all contestants answer."""

    tokens: jt.Int32[np.ndarray, " _"]
    new: int


def asked(case: Case) -> list[Asked]:
    """The first prompts of the case's files, behind a BOS where the tokenizer writes one.

    Answers are as long as the case says or, of the work `real`, as that of the record, but no longer than
    the case says. A record without one takes the length of another's, in turn.

    Raises:
        DataError: a record has no prompt, or there are fewer than the case asks for, or no answer at all.
    """
    tokenizer = make_tokenizer(case.tokenizer)
    begin = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
    found = [item for path in case.data.split(",") for item in read_records(path, {}, "data")]
    count, most = case.shape
    if len(found) < count:
        raise DataError(f"--data has {len(found)} prompts, and --shape asks for {count}; name more files")
    records = [item.value for item in found[:count]]
    texts = [_text(item.value, item.origin) for item in found[:count]]
    lengths = _lengths(records, tokenizer) if case.work == "real" else [most] * count
    return [
        Asked(np.array([*begin, *tokenizer.encode(text).ids], np.int32), min(length, most))
        for text, length in zip(texts, lengths, strict=True)
    ]


def _text(record: dict[str, Any], origin: str) -> str:
    for name in _FIELDS:
        value = record.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str) and first:
            return first
    raise DataError(f"{origin}: has no text in any of {', '.join(_FIELDS)}")


def _lengths(records: list[dict[str, Any]], tokenizer: Tokenizer) -> list[int]:
    """Tokens of the records' answers."""
    known = [
        len(tokenizer.encode(answer).ids) if isinstance(answer := each.get(_ANSWER), str) and answer else None
        for each in records
    ]
    lengths = [length for length in known if length]
    if not lengths:
        raise DataError(f"--data has no answer in the field {_ANSWER}; name a file that has, or --work=fixed")
    others = itertools.cycle(lengths)
    return [length or next(others) for length in known]


def positions(asked: list[Asked]) -> int:
    """That a model needs to answer them."""
    return max(len(each.tokens) for each in asked) + max(each.new for each in asked)
