"""Digests of examples whose texts are not there: hashes of their tokens, made of many at once."""

from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.data.dataset import Flat
from im_jax.token_classes import INSTRUCTION_CLASSES, MAIN_CLASS_TABLE

_INSTRUCTION: Final = np.isin(MAIN_CLASS_TABLE, INSTRUCTION_CLASSES)


def token_digests(flat: Flat, name: str) -> jt.UInt64[np.ndarray, " N"]:
    """64 bits of each example: of `whole`, or of its `prompt`, which is the instructions of all its turns."""
    if name == "whole":
        return _digests(flat.tokens, flat.bounds)
    chosen = _INSTRUCTION[flat.classes]
    bounds = np.concatenate([[0], np.cumsum(chosen)])[flat.bounds]
    return _digests(flat.tokens[chosen], bounds)


def _digests(
    tokens: jt.Int32[np.ndarray, " S"], bounds: jt.Int64[np.ndarray, " N_plus_1"]
) -> jt.UInt64[np.ndarray, " N"]:
    """The sum, over the tokens of an example, of a hash of token and place; the length in it too."""
    lengths = np.diff(bounds)
    place = (np.arange(len(tokens)) - np.repeat(bounds[:-1], lengths)).astype(np.uint64)
    hashes = _mixed((place << np.uint64(32)) | tokens.astype(np.uint32))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes, dtype=np.uint64)])[bounds]
    return _mixed(np.diff(sums) + lengths.astype(np.uint64))


def _mixed(x: jt.UInt64[np.ndarray, "*shape"]) -> jt.UInt64[np.ndarray, "*shape"]:
    """The end of splitmix64 (Steele, Lea, Flood 2014): every bit depends on all."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
