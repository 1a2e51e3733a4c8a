"""How files lay out the parameters, and how shards are cut from them.

Files hold a matrix per layer, often `[out, in]`, sometimes several in one tensor; the decoder has
`[in, out]`, heads apart, stacked over layers. A `Layout` is the table between the two.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models.decoder import Params, abstract_params
from im_jax.models.files.tensors import Tensors, read_finite
from im_jax.models.quantised.maps import wide
from im_jax.models.sharding import everywhere


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where a parameter is in a file."""

    name: str
    """Name of the tensor; `{}` stands for the layer."""
    pattern: str
    """Our dimensions (of one layer) and the tensor's: `d h k -> (h k) d` is `[D, H, K]` here and `[H K, D]`
    in the file, where rows go by head first. In `(h * k)`, each head's rows of all parameters of the tensor
    follow each other, in the order of the table."""
    joined: int | None = None
    """The tensor's dimension along which parameters of the same tensor follow each other, in the order of
    the table; None where the tensor is one parameter, or they take turns."""

    @functools.cached_property
    def dims(self) -> tuple[tuple[int, ...], ...]:
        """For each dimension of the tensor, which of our dimensions it is made of, outermost first."""
        ours, theirs = (side.split() for side in self.pattern.split("->"))
        dims: list[tuple[int, ...]] = []
        inside = False
        for word in theirs:
            axis = _TURNS if word.strip("()") == "*" else ours.index(word.strip("()"))
            dims[-1:] = [(*dims[-1], axis)] if inside else [*dims[-1:], (axis,)]
            inside = (inside or word.startswith("(")) and not word.endswith(")")
        return tuple(dims)

    @property
    def takes_turns(self) -> bool:
        """Whether it shares its tensor by turns."""
        return any(_TURNS in axes for axes in self.dims)

    def tensor_shape(self, shape: tuple[int, ...], turns: int = 1) -> tuple[int, ...]:
        """Shape in the file, without what it is joined with, of a parameter that is `shape` here.

        Args:
            shape: of the parameter here.
            turns: parameters that take turns.
        """
        return tuple(math.prod(_size(shape, axis, turns) for axis in axes) for axes in self.dims)

    def tensor_index(
        self, shape: tuple[int, ...], index: tuple[slice, ...], start: int, turns: int = 1
    ) -> tuple[slice, ...]:
        """The least part of the tensor that holds `index` of the parameter.

        Args:
            shape: of the parameter here.
            index: the part of it that is wanted, a slice with integer bounds for each dimension.
            start: where the parameter begins along `joined`.
            turns: parameters that take turns.
        """
        found = []
        for at, (outer, *inner) in enumerate(self.dims):
            block = math.prod(_size(shape, axis, turns) for axis in inner)
            begin = start * (at == self.joined)
            found.append(slice(begin + index[outer].start * block, begin + index[outer].stop * block))
        return tuple(found)

    def from_tensor(
        self,
        part: np.ndarray,
        shape: tuple[int, ...],
        index: tuple[slice, ...],
        turn: int = 0,
        turns: int = 1,
    ) -> np.ndarray:
        """`index` of the parameter, from the part of the tensor that `tensor_index` names.

        Args:
            part: of the tensor.
            shape: of the parameter here.
            index: as `tensor_index` was given.
            turn: which of the parameters that take turns it is.
            turns: how many these are.
        """
        sizes: list[int] = []
        wanted: list[slice | int] = []
        for outer, *inner in self.dims:
            sizes += [index[outer].stop - index[outer].start, *(_size(shape, axis, turns) for axis in inner)]
            wanted += [slice(None), *(turn if axis == _TURNS else index[axis] for axis in inner)]
        return part.reshape(sizes)[tuple(wanted)].transpose(np.argsort(self._order))

    def to_tensor(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """One layer's tensor as it is in the file, of all parameters that share it, in order."""
        parts = [value.transpose(self._order) for value in values]
        if self.takes_turns:
            stacked = np.stack(parts, [axis for axes in self.dims for axis in axes].index(_TURNS))
            return stacked.reshape(self.tensor_shape(values[0].shape, len(parts)))
        laid = [
            part.reshape(self.tensor_shape(value.shape)) for part, value in zip(parts, values, strict=True)
        ]
        return laid[0] if self.joined is None else np.concatenate(laid, self.joined)

    @property
    def _order(self) -> tuple[int, ...]:
        return tuple(axis for axes in self.dims for axis in axes if axis != _TURNS)


_TURNS: Final = -1
"""In place of one of our dimensions, in which parameters of the same tensor take turns."""


def _size(shape: tuple[int, ...], axis: int, turns: int) -> int:
    return turns if axis == _TURNS else shape[axis]


Layout = Mapping[str, Stored]
"""Parameter, by its path in the tree -> where it is. May have entries for parameters that a model lacks."""


class Checkpoint(NamedTuple):
    """An open checkpoint of any format."""

    fields: dict[str, Any]
    """What it says about the architecture: fields of `ModelConfig`."""
    layout: Layout
    tensors: Tensors
    notes: tuple[str, ...] = ()
    """What its user should know, a line each."""


class _Place(NamedTuple):
    """A parameter of a certain model, in its file."""

    stored: Stored
    shape: tuple[int, ...]
    """Of one layer, here."""
    layers: int | None
    """How many are stacked; None for a parameter that is not of a layer."""
    start: int
    """Where it begins in its tensor; which one it is of those that take turns."""
    turns: int
    """Parameters that take turns; 1 if it does not."""


def tensor_shapes(layout: Layout, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of this model has."""
    shapes: dict[str, tuple[int, ...]] = {}
    for place in _places(layout, config).values():
        shape = list(place.stored.tensor_shape(place.shape, place.turns))
        if place.stored.joined is not None:
            shape[place.stored.joined] += place.start
        # Of joined parameters the last one reaches farthest.
        shapes |= {name: tuple(shape) for name in _names(place)}
    return shapes


class ParamReader:
    """Reads parameters of a checkpoint one by one."""

    def __init__(self, layout: Layout, config: ModelConfig, tensors: Tensors) -> None:
        """
        Args:
            layout: names and shapes of the tensors.
            config: the model; its `param_dtype` is what values are converted to.
            tensors: what the files hold, checked.
        """
        self._places = _places(layout, config)
        self._arrays = by_path(abstract_params(wide(config)))
        self._tensors = tensors

    def __call__(self, path: str, sharding: jax.sharding.Sharding) -> jax.Array:
        """The parameter with this path in the tree, in its shards.

        Parts are read for the shards of this process's devices only, once for each distinct shard.

        Raises:
            CheckpointError: a tensor holds NaN or infinity.
        """
        place, array = self._places[path], self._arrays[path]

        def one(name: str, index: tuple[slice, ...]) -> np.ndarray:
            return self._part(place, name, index).astype(array.dtype)

        @functools.cache  # devices that hold copies share one reading
        def shard(*bounds: tuple[int, int]) -> np.ndarray:
            index = tuple(slice(*bound) for bound in bounds)
            if place.layers is None:
                return one(place.stored.name, index)
            return np.stack([one(name, index[1:]) for name in _names(place)[index[0]]])

        def at(index: Any) -> np.ndarray:
            return shard(*(part.indices(size)[:2] for part, size in zip(index, array.shape, strict=True)))

        return jax.make_array_from_callback(array.shape, sharding, at)

    def on_host(self, path: str) -> "np.ndarray | LayersOnDisk":
        """The parameter, whose layers are read when they are asked for. Raises as a call."""
        place, dtype = self._places[path], self._arrays[path].dtype
        whole = tuple(slice(0, size) for size in place.shape)

        def layer(number: int) -> np.ndarray:
            return self._part(place, _names(place)[number], whole).astype(dtype, copy=False)

        return layer(0) if place.layers is None else LayersOnDisk(layer)

    def layer(self, path: str, number: int, index: tuple[slice, ...]) -> np.ndarray:
        """Part of one layer of a parameter, in the type of its tensor. Raises as a call."""
        place = self._places[path]
        return self._part(place, _names(place)[number], index)

    def _part(self, place: _Place, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """Part of one layer of a parameter, as its tensor has it."""
        wanted = place.stored.tensor_index(place.shape, index, place.start, place.turns)
        part = read_finite(self._tensors[name], name, wanted)
        turn = place.start if place.stored.takes_turns else 0
        return place.stored.from_tensor(part, place.shape, index, turn, place.turns)


class LayersOnDisk(NamedTuple):
    """A parameter whose layers are read one by one."""

    read: Callable[[int], np.ndarray]


def write_params(
    layout: Layout, config: ModelConfig, parameter: Callable[[str], jax.Array | np.ndarray | LayersOnDisk]
) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of a checkpoint with its name, in the order of `tensor_shapes`, whole on this process.

    Only the parameters of one tensor are asked for at a time, and gathered layer by layer. Where several
    processes hold them as arrays of JAX, all must go through the tensors together.

    Args:
        layout: names and shapes of the tensors.
        config: the model.
        parameter: gives a parameter, all layers of it, by its path in the tree.
    """
    sharing: dict[str, list[tuple[str, _Place]]] = {}
    for path, place in _places(layout, config).items():
        sharing.setdefault(place.stored.name, []).append((path, place))
    for members in sharing.values():
        values = [parameter(path) for path, _ in members]
        first = members[0][1]
        for layer, name in enumerate(_names(first)):
            number = None if first.layers is None else layer
            yield name, first.stored.to_tensor([one_layer(value, number) for value in values])
        del values  # before the next ones are made


def one_layer(value: jax.Array | np.ndarray | LayersOnDisk, layer: int | None) -> np.ndarray:
    """One layer of a parameter that is stacked over layers, or all of one that is not (None), on the host."""
    if isinstance(value, LayersOnDisk):
        assert layer is not None
        return value.read(layer)
    return everywhere(value if layer is None else value[layer])


def by_path(params: Params) -> dict[str, Any]:
    """The parameters, or whatever a tree like theirs holds, by their paths in the tree."""
    return {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def _places(layout: Layout, config: ModelConfig) -> dict[str, _Place]:
    """Every parameter of the model, in the order of the layout."""
    arrays = by_path(abstract_params(wide(config)))
    if homeless := sorted(arrays.keys() - layout.keys()):
        raise CheckpointError(f"{config.path or 'the checkpoint'}: has no place for {', '.join(homeless)}")
    reached: dict[str, int] = {}
    places = {}
    for path, stored in layout.items():
        if path not in arrays:
            continue
        scanned = path.startswith("layers.")
        shape = arrays[path].shape[1:] if scanned else arrays[path].shape
        start = reached.get(stored.name, 0)
        places[path] = _Place(stored, shape, config.num_layers if scanned else None, start, 1)
        if stored.joined is not None:
            reached[stored.name] = start + stored.tensor_shape(shape)[stored.joined]
        elif stored.takes_turns:
            reached[stored.name] = start + 1
    return {
        path: place._replace(turns=reached[place.stored.name]) if place.stored.takes_turns else place
        for path, place in places.items()
    }


def _names(place: _Place) -> list[str]:
    """Names of a parameter's tensors, layer by layer."""
    return [place.stored.name.format(layer) for layer in range(place.layers or 1)]


def dotted(path: tuple[Any, ...]) -> str:
    """A path of `jax.tree_util` as `by_path` has it."""
    return jax.tree_util.keystr(path, simple=True, separator=".")
