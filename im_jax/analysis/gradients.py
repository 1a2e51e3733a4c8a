"""Gradients of the loss by token class: their lengths, whether they agree, and what a step along one does."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np
from flax import traverse_util

from im_jax.batch import Batch
from im_jax.config import LossConfig
from im_jax.data.dataset import ExampleView
from im_jax.data.packing import Rows, stack
from im_jax.losses.policy import policy_weights
from im_jax.losses.weighting import normalise, shift_to_targets, target_weights
from im_jax.mesh import put_batch
from im_jax.models.decoder import Params
from im_jax.models.loaded import Model
from im_jax.models.loss import make_targets, weighted_loss
from im_jax.token_classes import INSTRUCTION_CLASSES, MAIN_CLASSES, OUTPUT_CLASSES, TokenClass
from im_jax.training.partition import IsTrained, merge, split

_ROUND: Final = 64
"""Rows are as long as a multiple of this, so that few lengths are compiled."""

GROUPS: Final[Mapping[str, frozenset[TokenClass]]] = {
    "instruction": frozenset(INSTRUCTION_CLASSES),
    "output": frozenset(OUTPUT_CLASSES),
    "template": frozenset(c for c in TokenClass if c.main in (TokenClass.HEADER, TokenClass.SEPARATOR)),
}
"""Every class that the policy `all` trains is in one of them."""

ByLayer = dict[str, float]
"""Of `layer 0`, `layer 1` and so on, and of the other parts of the parameters by name."""


@dataclass(frozen=True)
class WeightedRows:
    """Rows on the host, one example each, with weights that are normalised over all of them."""

    batch: Batch
    weights: jt.Float32[np.ndarray, "N L"]
    """Of the target of each position."""

    def only(self, classes: frozenset[TokenClass]) -> "WeightedRows":
        """The same with the weights of some classes of targets alone: parts that add up to the whole."""
        of_targets = np.asarray(shift_to_targets(jnp.asarray(self.batch.classes)))
        return WeightedRows(self.batch, np.where(np.isin(of_targets, list(classes)), self.weights, 0.0))


def weighted_rows(
    examples: Sequence[ExampleView], policy: str, reduction: str, multiple_of: int = 1
) -> WeightedRows:
    """Examples as rows, weighted by a policy.

    Args:
        examples: encoded; one or more.
        policy: its name.
        reduction: how weights are normalised over all rows.
        multiple_of: rows of padding fill them up to a multiple.
    """
    longest = max(len(example.tokens) for example in examples)
    length = -(-longest // _ROUND) * _ROUND
    filling = [Rows.empty(length)] * (-len(examples) % multiple_of)
    batch = stack([*(_row(example, length) for example in examples), *filling])
    on_device = Batch(*map(jnp.asarray, batch))
    weights = normalise(target_weights(on_device, policy_weights(policy)), on_device.segments, reduction)
    return WeightedRows(batch, np.asarray(weights))


def _row(example: ExampleView, length: int) -> Batch:
    row, size = Rows.empty(length), len(example.tokens)
    row.tokens[:size], row.classes[:size] = example.tokens, example.classes
    row.message_weights[:size] = example.weights
    row.segments[:size], row.positions[:size] = 1, np.arange(size)
    return row


class Differentiated:
    """Weighted losses of a model's rows, and their gradients in what is trained of it.

    One program for all classes: weights are data. Rows go in micro-batches, and gradients add up in float32.
    """

    def __init__(self, model: Model, is_trained: IsTrained, *, rows_at_a_time: int = 4) -> None:
        """Args: the model, which of its parameters are trained, and rows of a micro-batch, about."""
        self._model = model
        self.trained, self._rest = split(model.params, is_trained)
        self.rows = model.batch_size(rows_at_a_time)
        plain = LossConfig()

        def loss(trained: Params, rest: Params, batch: Batch, weights: jax.Array) -> jax.Array:
            whole = merge(trained, rest)
            return weighted_loss(
                whole, batch, make_targets(batch, weights), model.config, plain, model.rules
            )[0]

        self._loss: Callable[..., Any] = jax.jit(loss)
        self._value_and_grad: Callable[..., Any] = jax.jit(jax.value_and_grad(loss))

    def loss(self, rows: WeightedRows, trained: Params | None = None) -> float:
        """Sum of weight x negative log-likelihood; `trained` stands for the model's own parameters."""
        params = self.trained if trained is None else trained
        return float(sum(self._each(self._loss, params, rows)))

    def gradient(self, rows: WeightedRows) -> tuple[float, Params]:
        """The loss, and its gradient in float32."""
        total, gradient = 0.0, None
        for value, part in self._each(self._value_and_grad, self.trained, rows):
            total += float(value)
            gradient = _wide(part) if gradient is None else _added(gradient, part)
        assert gradient is not None
        return total, gradient

    def moved(self, direction: Params, by: float) -> Params:
        """The trained parameters after `parameters + by x direction`, in float32."""
        with jax.set_mesh(self._model.mesh):
            return _moved(self.trained, direction, jnp.float32(by))

    def _each(self, program: Callable[..., Any], params: Params, rows: WeightedRows) -> Any:
        with jax.set_mesh(self._model.mesh):
            for start in range(0, len(rows.weights), self.rows):
                at = slice(start, start + self.rows)
                batch = put_batch(Batch(*(field[at] for field in rows.batch)), self._model.mesh)
                yield program(params, self._rest, batch, jnp.asarray(rows.weights[at]))


@jax.jit
def _wide(tree: Params) -> Params:
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


@functools.partial(jax.jit, donate_argnums=0)
def _added(total: Params, part: Params) -> Params:
    return jax.tree.map(lambda x, y: x + y.astype(jnp.float32), total, part)


@jax.jit
def _moved(params: Params, direction: Params, by: jax.Array) -> Params:
    return jax.tree.map(lambda x, y: x.astype(jnp.float32) + by * y, params, direction)


def inner(one: Params, other: Params) -> ByLayer:
    """Inner products of two trees of the decoder's parameters, layer by layer; they add up to that of all."""
    found: ByLayer = {}
    for path, product in traverse_util.flatten_dict(jax.device_get(_inner(one, other))).items():
        values = np.atleast_1d(np.asarray(product, np.float64))
        names = [f"layer {at}" for at in range(len(values))] if path[0] == "layers" else [path[0]]
        for name, value in zip(names, values.tolist(), strict=True):
            found[name] = found.get(name, 0.0) + value
    return found


@jax.jit
def _inner(one: Params, other: Params) -> Params:
    def product(path: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        keep = 1 if path[0].key == "layers" else 0  # layers are stacked along the first axis
        return jnp.sum(x * y, axis=tuple(range(keep, x.ndim)))

    return cast(Params, jax.tree_util.tree_map_with_path(product, one, other))


@dataclass(frozen=True)
class Step:
    """What one step of plain gradient descent on some tokens changes of the held-out loss on outputs."""

    predicted: float
    """- learning rate x inner product of the two gradients, in nats."""
    measured: float


@dataclass(frozen=True)
class ClassGradients:
    """Gradients of a training loss in which every token weighs 1, by token class."""

    losses: dict[str, float]
    """Part of each main class in the loss."""
    norms: dict[str, ByLayer]
    """Of each main class and of `instruction`, `output`, `template`, by layer, and of `all` layers."""
    cosine: ByLayer
    """Between instruction and output, by layer and of `all`; NaN where one of them is 0."""
    learning_rate: float
    steps: dict[str, Step]
    """Of `instruction` and `output`."""


def class_gradients(
    of: Differentiated, train: WeightedRows, heldout: WeightedRows, learning_rate: float
) -> ClassGradients:
    """Measure gradients by token class. No more than four of them are in memory.

    Args:
        of: the model.
        train: rows under the policy `all`.
        heldout: rows under the policy `it`.
        learning_rate: of the step.
    """
    before, target = of.gradient(heldout)
    losses: dict[str, float] = {}
    norms: dict[str, ByLayer] = {}
    steps: dict[str, Step] = {}
    kept: dict[str, Params] = {}
    for name, classes in GROUPS.items():
        value, gradient = of.gradient(train.only(classes))
        norms[name] = _norms(gradient)
        if name == "template":
            continue
        kept[name] = gradient
        predicted = -learning_rate * sum(inner(gradient, target).values())
        after = of.loss(heldout, of.moved(gradient, -learning_rate))
        steps[name] = Step(predicted, after - before)
    cosine = _cosine(kept["instruction"], kept["output"])
    del kept, target
    for main in MAIN_CLASSES:
        part = train.only(frozenset(c for c in TokenClass if c.main is main))
        if part.weights.any():
            value, gradient = of.gradient(part)
            losses[main.label], norms[main.label] = value, _norms(gradient)
    return ClassGradients(losses, norms, cosine, learning_rate, steps)


def _norms(gradient: Params) -> ByLayer:
    squares = inner(gradient, gradient)
    return {name: value**0.5 for name, value in (squares | {"all": sum(squares.values())}).items()}


def _cosine(one: Params, other: Params) -> ByLayer:
    products = {"between": inner(one, other), "one": inner(one, one), "other": inner(other, other)}
    whole = {name: values | {"all": sum(values.values())} for name, values in products.items()}
    lengths = {name: (whole["one"][name] * whole["other"][name]) ** 0.5 for name in whole["between"]}
    return {
        name: whole["between"][name] / length if length > 0 else float("nan")
        for name, length in lengths.items()
    }
