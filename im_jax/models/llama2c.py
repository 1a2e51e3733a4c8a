"""Checkpoints of karpathy/llama2.c in its legacy format (`export.py --version 0`), such as stories260K.

    int32    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len
    float32  token_embedding [vocab, dim], then for all layers at once each of attention norm [dim],
             wq, wk, wv, wo, feed-forward norm [dim], w1 (gate), w2 (down), w3 (up), each [out, in];
             final norm [dim], two tables of rotary angles [seq_len, head_size / 2], and the head
             [vocab, dim] unless tied

A negative vocab_size says that the head is not tied. Numbers are little-endian.
"""

import math
import os
from pathlib import Path
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.config import ModelConfig, RopeScaling
from im_jax.errors import CheckpointError
from im_jax.models import stored
from im_jax.models.attention.layer import head_dim
from im_jax.models.decoder import Params

_HEADER: Final = np.dtype("<i4")
_HEADER_NAMES: Final = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
_HEADER_BYTES: Final = _HEADER.itemsize * len(_HEADER_NAMES)
_VALUE: Final = np.dtype("<f4")

_ORDER: Final = (
    "embedding",
    "layers.attention_norm.scale",
    "layers.attention.query",
    "layers.attention.key",
    "layers.attention.value",
    "layers.attention.output",
    "layers.mlp_norm.scale",
    "layers.mlp.gate",
    "layers.mlp.down",
    "layers.mlp.up",
    "final_norm.scale",
)
"""Parameters up to the rotary tables, in the order of the file."""


def read_config(path: str | Path) -> dict[str, Any]:
    """Architecture from the header, as fields of `ModelConfig`.

    Raises:
        CheckpointError: the file is missing, truncated, or not of this format.
    """
    header = _read_header(path)
    fields: dict[str, Any] = {
        "vocab_size": abs(header["vocab_size"]),
        "num_layers": header["n_layers"],
        "embed_dim": header["dim"],
        "num_heads": header["n_heads"],
        "num_kv_heads": header["n_kv_heads"],
        "head_dim": header["dim"] // header["n_heads"],
        "mlp_dim": header["hidden_dim"],
        "max_positions": header["seq_len"],
        "tie_embeddings": header["vocab_size"] > 0,
        # llama2.c fixes these.
        "rope_theta": 10000.0,
        "rope_scaling": RopeScaling(),
        "norm_eps": 1e-5,
        "sliding_window": None,
    }
    _check_size(path, ModelConfig(**fields))
    return fields


def load_params(path: str | Path, config: ModelConfig, shardings: Any) -> Params:
    """Parameters from a file, with rotary pairs reordered from neighbours to halves.

    Args:
        path: the `.bin` file.
        config: the model, as resolved by `checkpoints.resolve_model`.
        shardings: pytree of shardings from `decoder.param_shardings`.

    Raises:
        CheckpointError: the file is missing or truncated, or holds another model than `config`.
    """
    mine = read_config(path)
    for name, value in mine.items():
        if getattr(config, name) != value:
            raise CheckpointError(f"{path}: {name} is {value}, but the model has {getattr(config, name)}")
    tensors = _map_tensors(path, config)

    def read(name: str, index: tuple[slice, ...]) -> np.ndarray:
        tensor = tensors[name]
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = _halves(tensor, head_dim(config))
        return tensor[index]

    return stored.read_params(config, shardings, read)


def _halves(weight: jt.Float32[np.ndarray, "rows D"], size: int) -> jt.Float32[np.ndarray, "rows D"]:
    """Rows of each head from pairs of neighbours (0 1)(2 3).. to halves: 0 2 .. 1 3 .."""
    rows, embed = weight.shape
    return weight.reshape(rows // size, size // 2, 2, embed).swapaxes(1, 2).reshape(rows, embed)


def _read_header(path: str | Path) -> dict[str, int]:
    try:
        values = np.fromfile(path, _HEADER, len(_HEADER_NAMES))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    header = dict(zip(_HEADER_NAMES, values.tolist(), strict=False))
    sizes = [abs(value) if name == "vocab_size" else value for name, value in header.items()]
    whole = len(sizes) == len(_HEADER_NAMES) and min(sizes) > 0
    if not whole or header["dim"] % header["n_heads"] or header["n_heads"] % header["n_kv_heads"]:
        raise CheckpointError(
            f"{path}: not a llama2.c checkpoint of the legacy format: its header says {header}"
        )
    return header


def _num_rotary(config: ModelConfig) -> int:
    """Values of the two rotary tables, which are skipped: the decoder computes its own."""
    return config.max_positions * head_dim(config)


def _check_size(path: str | Path, config: ModelConfig) -> None:
    shapes = stored.file_shapes(config).values()
    weights = sum(math.prod(shape) for part in shapes for shape in part.values())
    expected = _HEADER_BYTES + _VALUE.itemsize * (weights + _num_rotary(config))
    found = os.path.getsize(path)
    if found != expected:
        raise CheckpointError(
            f"{path}: has {found} bytes, but its header asks for {expected}; it is truncated, or not a "
            "llama2.c checkpoint of the legacy format"
        )


def _map_tensors(path: str | Path, config: ModelConfig) -> dict[str, np.ndarray]:
    """Tensors of the file, mapped and not read, by their Hugging Face names."""
    values = np.memmap(path, _VALUE, mode="r", offset=_HEADER_BYTES)
    shapes, tensors, start = stored.file_shapes(config), {}, 0
    for parameter in (*_ORDER, "head"):
        if parameter == "head":
            start += _num_rotary(config)
        for name, shape in shapes.get(parameter, {}).items():
            stop = start + math.prod(shape)
            tensors[name] = values[start:stop].reshape(shape)
            start = stop
    return tensors
