"""Files of karpathy/llama2.c in its legacy format (`export.py --version 0`), such as stories260K.

    int32    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len
    float32  token_embedding [vocab, dim], then for all layers at once each of attention norm [dim],
             wq, wk, wv, wo, feed-forward norm [dim], w1 (gate), w2 (down), w3 (up), each [out, in];
             final norm [dim], two tables of rotary angles [seq_len, head_size / 2], and the head
             [vocab, dim] unless tied

A negative vocab_size says that the head is not tied. Numbers are little-endian.
"""

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.errors import CheckpointError
from im_jax.models.files.safetensors_folder import torch_advice
from im_jax.models.files.tensors import Index, Tensor
from im_jax.stores import in_store

_HEADER: Final = np.dtype("<i4")
_VALUE: Final = np.dtype("<f4")
_ZIP_AND_PICKLE: Final = (b"PK\x03\x04", b"\x80\x02")
"""What torch's own files begin with."""


class Header(NamedTuple):
    """The numbers at the beginning of a file."""

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    """Negative where the head is not tied."""
    seq_len: int

    @property
    def head_size(self) -> int:
        """Size of one head."""
        return self.dim // self.n_heads


_HEADER_BYTES: Final = _HEADER.itemsize * len(Header._fields)


def read_header(path: Path) -> Header:
    """The header, checked against itself and the size of the file.

    Raises:
        CheckpointError: the file cannot be read, is cut, or is not of this format.
    """
    try:
        with path.open("rb") as file:
            start, size = file.read(_HEADER_BYTES), path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    if start.startswith(_ZIP_AND_PICKLE):
        raise CheckpointError(
            f"{path}: a file of torch, which is not read, only safetensors are; {torch_advice(path.parent)}"
        )
    if len(start) < _HEADER_BYTES:
        raise CheckpointError(f"{path}: not a llama2.c checkpoint of the legacy format: it has {size} bytes")
    header = Header(*np.frombuffer(start, _HEADER).tolist())
    _check(header, path)
    expected = _HEADER_BYTES + _VALUE.itemsize * _num_values(header)
    if size != expected:
        raise CheckpointError(
            f"{path}: has {size} bytes, but its header asks for {expected}; it is truncated, or not a "
            f"llama2.c checkpoint of the legacy format: its header says {header._asdict()}"
        )
    return header


def map_tensors(path: Path, header: Header) -> dict[str, Tensor]:
    """Every tensor, mapped and not read, under run.c's name, with `.N` behind it for layer N.

    Rows of `wq` and `wk` are given in halves: run.c turns neighbours as a pair, where others turn the first
    half of a head with the second.
    """
    if in_store(path):  # these models are small
        values = np.frombuffer(path.read_bytes(), _VALUE, offset=_HEADER_BYTES)
    else:
        values = np.memmap(path, _VALUE, mode="r", offset=_HEADER_BYTES)
    tensors, start = {}, 0
    for name, shape in _contents(header):
        stop = start + math.prod(shape)
        value = values[start:stop].reshape(shape)
        start = stop
        turned = header.head_size if name.startswith(("wq.", "wk.")) else None
        tensors[name] = Tensor(shape, "F32", functools.partial(_read, value, turned), path)
    return tensors


def _read(value: np.ndarray, turned: int | None, index: Index) -> np.ndarray:
    return (value if turned is None else _halves(value, turned))[index]


def _halves(weight: jt.Float32[np.ndarray, "rows D"], size: int) -> jt.Float32[np.ndarray, "rows D"]:
    """Rows of each head from pairs of neighbours (0 1)(2 3).. to halves: 0 2 .. 1 3 .."""
    rows, embed = weight.shape
    return weight.reshape(rows // size, size // 2, 2, embed).swapaxes(1, 2).reshape(rows, embed)


def _check(header: Header, path: Path) -> None:
    """Stop at numbers that are no sizes of a model."""
    positive = header.vocab_size != 0 and min(header._replace(vocab_size=1)) > 0
    fitting = positive and not (
        header.dim % header.n_heads or header.n_heads % header.n_kv_heads or header.head_size % 2
    )
    if not fitting:
        raise CheckpointError(
            f"{path}: not a llama2.c checkpoint of the legacy format: its header says {header._asdict()}"
        )


def _layer_shapes(header: Header) -> dict[str, tuple[int, ...]]:
    """Shapes of one layer's tensors, in order; each stands for all layers at once."""
    dim, narrow = header.dim, header.head_size * header.n_kv_heads
    return {
        "rms_att_weight": (dim,),
        "wq": (dim, dim),
        "wk": (narrow, dim),
        "wv": (narrow, dim),
        "wo": (dim, dim),
        "rms_ffn_weight": (dim,),
        "w1": (header.hidden_dim, dim),
        "w2": (dim, header.hidden_dim),
        "w3": (header.hidden_dim, dim),
    }


def _last_shapes(header: Header) -> dict[str, tuple[int, ...]]:
    """Shapes of what stands behind the layers, in order."""
    angles = (header.seq_len, header.head_size // 2)
    shapes: dict[str, tuple[int, ...]] = {"rms_final_weight": (header.dim,)}
    shapes |= {"freq_cis_real": angles, "freq_cis_imag": angles}
    return shapes if header.vocab_size > 0 else shapes | {"wcls": (-header.vocab_size, header.dim)}


def _num_values(header: Header) -> int:
    """Numbers behind the header; by arithmetic, for a header may say anything."""

    def values(shapes: dict[str, tuple[int, ...]]) -> int:
        return sum(math.prod(shape) for shape in shapes.values())

    table = abs(header.vocab_size) * header.dim
    return table + header.n_layers * values(_layer_shapes(header)) + values(_last_shapes(header))


def _contents(header: Header) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of everything behind the header, in order."""
    yield "token_embedding_table", (abs(header.vocab_size), header.dim)
    for name, shape in _layer_shapes(header).items():
        yield from ((f"{name}.{layer}", shape) for layer in range(header.n_layers))
    yield from _last_shapes(header).items()
