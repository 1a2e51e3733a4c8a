"""Loss policies: a weight per token class.

    policy        trains
    it            assistant text, its thoughts and calls, and stop tokens (instruction tuning)
    im            system, user, tool and assistant text and stop tokens (Instruction Modelling)
    it_released   as `it`, and the newline after a stop: what the released code's IT trains
    im_released   everything but BOS and the first header: what the released code's IM trains
    all           everything but padding and BOS
    last_turn     the last assistant message and its stop token

`it` and `im` are the losses of Shi et al., "Instruction Tuning With Loss Over Instructions" (NeurIPS
2024), section 3; the `released` ones are what the code published with it computes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.config import ClassWeights, LossConfig
from im_jax.config.loss import WEIGHT
from im_jax.errors import ConfigError
from im_jax.losses.schedule import Ramp, read_schedule
from im_jax.token_classes import INSTRUCTION_CLASSES, NUM_CLASSES, OUTPUT_CLASSES, TokenClass

_OUTPUT: Final = frozenset(OUTPUT_CLASSES)
_TEMPLATE_FREE: Final = _OUTPUT | set(INSTRUCTION_CLASSES)
_NEVER_TRAINED: Final = frozenset({TokenClass.PAD, TokenClass.BOS})
_ALL: Final = frozenset(TokenClass) - _NEVER_TRAINED

TRAINED_CLASSES: Final[dict[str, frozenset[TokenClass]]] = {
    "it": _OUTPUT,
    "im": _TEMPLATE_FREE,
    "it_released": _OUTPUT | {TokenClass.STOP_SEPARATOR},
    "im_released": _ALL - {TokenClass.FIRST_HEADER},
    "all": _ALL,
    "last_turn": frozenset(c for c in OUTPUT_CLASSES if c.label.startswith("last_")),
}


@dataclasses.dataclass(frozen=True)
class LossPolicy:
    """A weight per token class, and how weights are normalised over an optimiser step."""

    name: str
    weights: tuple[float, ...]
    """`weights[c]` is the weight of `TokenClass(c)` as a target; non-negative. Where it changes, the one
    at the end of the run: what the run arrives at is what it is measured by."""
    reduction: str
    changes: Mapping[TokenClass, Ramp] = dataclasses.field(default_factory=dict, hash=False)
    """How the weights of some classes change over the run."""

    @property
    def trains_stop(self) -> bool:
        """Whether the stop token of the last answer carries loss."""
        return self.weights[TokenClass.LAST_STOP] > 0

    def table(self) -> jt.Float32[np.ndarray, " C"]:
        """The weights as an array to index with token classes."""
        return np.array(self.weights, np.float32)

    def largest(self) -> jt.Float32[np.ndarray, " C"]:
        """The largest weight of each class in the run: above 0 where it carries loss at any time."""
        table = self.table()
        for token_class, ramp in self.changes.items():
            table[token_class] = ramp.largest
        return table

    def shown(self, token_class: TokenClass) -> str:
        """The weight of a class for a reader: `1`, or `1..0` where it changes."""
        return str(self.changes.get(token_class, f"{self.weights[token_class]:g}"))

    def changing(self) -> list[TokenClass]:
        """The classes whose weights change, without those that change with what they are part of."""
        changes = self.changes
        return [c for c in changes if c.part_of is c or changes.get(c.part_of) is not changes[c]]


def policy_weights(name: str) -> jt.Float32[np.ndarray, " C"]:
    """Weight per `TokenClass` of a named policy: 1 where it trains, else 0. Raises on unknown names."""
    if name not in TRAINED_CLASSES:
        raise ConfigError(f"loss.policy={name!r} is not one of {', '.join(TRAINED_CLASSES)}")
    weights = np.zeros(NUM_CLASSES, np.float32)
    weights[list(TRAINED_CLASSES[name])] = 1.0
    return weights


def make_policy(loss: LossConfig) -> LossPolicy:
    """The policy a configuration asks for: the named one, with the weights that are set put over it.

    A weight set for a class, or its schedule, holds for those that are part of it too, unless they have their
    own.

    Raises:
        ConfigError: a weight is negative or not finite, or set twice; the schedule cannot be read; nothing is
            trained at the first step or at the last; or no stop token is trained in the end although
            `loss.require_trained_stop` is set.
    """
    weights, ramps = policy_weights(loss.policy), read_schedule(loss.schedule)
    changes: dict[TokenClass, Ramp] = {}
    for token_class in TokenClass:
        match _configured_weight(loss.weights, ramps, token_class):
            case Ramp() as ramp:
                changes[token_class] = ramp
                weights[token_class] = ramp.last
            case float() | int() as weight:
                weights[token_class] = weight
    policy = LossPolicy(loss.policy, tuple(float(w) for w in weights), loss.reduction, changes)
    if not policy.largest().any():
        raise ConfigError("loss.weights: every token class has weight 0, nothing is trained; set one above 0")
    if not any(policy.weights):
        raise ConfigError(f"loss.schedule={loss.schedule} ends with nothing trained; let a class end above 0")
    if loss.require_trained_stop and not policy.trains_stop:
        where = (
            "loss.schedule ends with stop at 0"
            if TokenClass.LAST_STOP in changes
            else "loss.weights.stop is 0"
        )
        raise ConfigError(
            f"{where}, so the model would never learn to stop; "
            "set it above 0, or loss.require_trained_stop=false if that is meant"
        )
    return policy


def _configured_weight(
    weights: ClassWeights, ramps: Mapping[TokenClass, Ramp], token_class: TokenClass
) -> float | Ramp | None:
    """The weight set for a class or for one that it is part of, or how it changes; None: none is set."""
    while True:
        value, ramp = getattr(weights, token_class.label, None), ramps.get(token_class)
        if value is not None and not WEIGHT.hold(value):
            raise ConfigError(f"loss.weights.{token_class.label}={value} must be a number from {WEIGHT}")
        if value is not None and ramp is not None:
            raise ConfigError(
                f"loss.weights.{token_class.label}={value} and loss.schedule={ramp.text} set one weight; "
                "leave one of them out"
            )
        if value is not None or ramp is not None or token_class is token_class.part_of:
            return value if ramp is None else ramp
        token_class = token_class.part_of
