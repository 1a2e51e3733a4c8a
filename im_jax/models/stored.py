"""How checkpoint files lay out the parameters, and how shards are cut from them.

Files hold one `[out, in]` matrix per layer under Hugging Face's names; the decoder has `[in, out]`,
heads apart, stacked over layers. `LAYOUT` is the one table between the two, `read_params` and
`write_params` go by it; it is the Llama family's, and `check_family` refuses others. (llama2.c files are
read as if their tensors had these names.)
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models.decoder import Params, abstract_params

Read = Callable[[str, tuple[slice, ...]], np.ndarray]
"""Reads the part of a named tensor that the slices (with integer bounds) select."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where a parameter is in a file."""

    name: str
    """Name of the tensor; `{}` stands for the layer."""
    order: tuple[int, ...]
    """Our axes (of one layer) in the order of the file."""
    heads: int | None = None
    """Where `order` has the heads; file dimension `heads` is them and the head size, H * K."""

    def file_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape in the file of a tensor that is `shape` (of one layer) here."""
        sizes = tuple(shape[axis] for axis in self.order)
        if self.heads is None:
            return sizes
        return (*sizes[: self.heads], sizes[self.heads] * sizes[self.heads + 1], *sizes[self.heads + 2 :])

    def read(self, read: Read, name: str, shape: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
        """The part of one layer's parameter (of shape `shape` here) that `index` selects."""
        wanted = [index[axis] for axis in self.order]
        if self.heads is None:
            return read(name, tuple(wanted)).transpose(np.argsort(self.order))
        heads, within = wanted[self.heads : self.heads + 2]
        size = shape[self.order[self.heads + 1]]
        wanted[self.heads : self.heads + 2] = [slice(heads.start * size, heads.stop * size)]
        part = read(name, tuple(wanted))
        split = (*part.shape[: self.heads], -1, size, *part.shape[self.heads + 1 :])
        part = part.reshape(split).transpose(np.argsort(self.order))
        return part.take(range(within.start, within.stop), axis=self.order[self.heads + 1])

    def write(self, value: np.ndarray) -> np.ndarray:
        """One layer's parameter as it is in the file."""
        return np.ascontiguousarray(value.transpose(self.order).reshape(self.file_shape(value.shape)))


_LAYER: Final = "model.layers.{}."
LAYOUT: Final[dict[str, Stored]] = {
    "embedding": Stored("model.embed_tokens.weight", (0, 1)),
    "layers.attention_norm.scale": Stored(_LAYER + "input_layernorm.weight", (0,)),
    "layers.attention.query": Stored(_LAYER + "self_attn.q_proj.weight", (1, 2, 0), heads=0),  # [H K, D]
    "layers.attention.key": Stored(_LAYER + "self_attn.k_proj.weight", (1, 2, 0), heads=0),  # [G K, D]
    "layers.attention.value": Stored(_LAYER + "self_attn.v_proj.weight", (1, 2, 0), heads=0),  # [G K, D]
    "layers.attention.output": Stored(_LAYER + "self_attn.o_proj.weight", (2, 0, 1), heads=1),  # [D, H K]
    "layers.mlp_norm.scale": Stored(_LAYER + "post_attention_layernorm.weight", (0,)),
    "layers.mlp.gate": Stored(_LAYER + "mlp.gate_proj.weight", (1, 0)),
    "layers.mlp.down": Stored(_LAYER + "mlp.down_proj.weight", (1, 0)),
    "layers.mlp.up": Stored(_LAYER + "mlp.up_proj.weight", (1, 0)),
    "final_norm.scale": Stored("model.norm.weight", (0,)),
    "head": Stored("lm_head.weight", (1, 0)),
}
"""Parameter, by its path in the tree -> its tensors."""
_FAMILY: Final = {"norm": "rms", "mlp": "swiglu", "positions": "rotary", "biases": "none"}


def check_family(config: ModelConfig, where: str | Path) -> None:
    """Stop at a model that is not of the Llama family: checkpoints have no place for its parameters.

    Raises:
        CheckpointError: names the checkpoint, the field and what it must be.
    """
    for name, value in _FAMILY.items():
        if getattr(config, name) != value:
            raise CheckpointError(
                f"{where}: checkpoints are read and written for the Llama family only, but model.{name} is "
                f"{getattr(config, name)!r}; it must be {value!r}"
            )


def file_shapes(config: ModelConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Name and shape of every tensor that a checkpoint of this model has, under each parameter's path."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, array in _flat(abstract_params(config)).items():
        stored, scanned = LAYOUT[path], path.startswith("layers.")
        shape = stored.file_shape(array.shape[1:] if scanned else array.shape)
        layers = range(config.num_layers if scanned else 1)
        shapes[path] = {stored.name.format(layer): shape for layer in layers}
    return shapes


def read_params(config: ModelConfig, shardings: Any, read: Read) -> Params:
    """Parameters from a checkpoint, straight into their shards.

    Args:
        config: the model; its `param_dtype` is what values are converted to.
        shardings: pytree of `jax.sharding.Sharding` like the parameters.
        read: reads a part of a tensor; called for the shards of this process's devices only, once for
            each distinct shard.
    """

    def load(
        path: tuple[Any, ...], array: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding
    ) -> jax.Array:
        key = _dotted(path)
        stored, scanned = LAYOUT[key], key.startswith("layers.")

        @functools.cache  # devices that hold copies share one reading
        def shard(*bounds: tuple[int, int]) -> np.ndarray:
            index = tuple(slice(*bound) for bound in bounds)
            if not scanned:
                return stored.read(read, stored.name, array.shape, index).astype(array.dtype)
            layers = range(*bounds[0])
            parts = [
                stored.read(read, stored.name.format(i), array.shape[1:], index[1:]).astype(array.dtype)
                for i in layers
            ]
            return np.stack(parts)

        def at(index: Any) -> np.ndarray:
            return shard(*(part.indices(size)[:2] for part, size in zip(index, array.shape, strict=True)))

        return jax.make_array_from_callback(array.shape, sharding, at)

    return jax.tree_util.tree_map_with_path(load, abstract_params(config), shardings)


def write_params(params: Params) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of a checkpoint with its name. All parameters must be addressable here."""
    for path, value in _flat(params).items():
        stored, host = LAYOUT[path], np.asarray(value)
        if path.startswith("layers."):
            yield from ((stored.name.format(i), stored.write(layer)) for i, layer in enumerate(host))
        else:
            yield stored.name, stored.write(host)


def check_tensors(
    expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], where: str
) -> None:
    """Compares names and shapes of tensors; CheckpointError says what is missing, too many, or off."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        raise CheckpointError(f"{where}: missing {_some(missing)}")
    if extra:
        raise CheckpointError(f"{where}: unexpected {_some(extra)}; the model has no such parameters")
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(f"{where}: {name} has shape {found[name]}, but the model needs {shape}")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} tensor{'s' * (len(names) > 1)}: {', '.join(names[:5])}{rest}"


def _dotted(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _flat(tree: Any) -> dict[str, Any]:
    return {_dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
