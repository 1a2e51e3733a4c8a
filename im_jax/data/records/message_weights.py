"""What data says about loss: the weight of a message, under the names that are in use for it.

`weight` is a number that multiplies the loss weight of the message's tokens. A flag says no more than
whether a message is trained, which is a weight of 1 or 0.
"""

from typing import Any, Final

import numpy as np

from im_jax.data.records.refusals import described, fail

FLAGS: Final = ("train", "training", "trainable", "loss", "loss_mask", "compute_loss")
"""Flags of a message that are read: true and 1 train it, false and 0 do not."""
_UNCLEAR: Final = frozenset(
    [
        *("mask", "masked", "ignore", "ignore_loss", "no_loss", "loss_weight", "loss_scale"),
        *("train_detail", "training_detail", "train_on_turn", "token_weights"),
    ]
)
"""Names that decide loss elsewhere, in one sense here and in another there."""
_BY_TOKEN: Final = ("loss_mask", "completion_mask", "assistant_masks")
"""Fields of a record that decide loss token by token."""
_OF_RECORD: Final = frozenset([*FLAGS, "weight", *_BY_TOKEN])
_MAX_WEIGHT: Final = float(np.finfo(np.float32).max)


def message_weight(turn: dict[str, Any], where: str, origin: str) -> float:
    """The weight of a message, a float32 value; 1 where nothing is said.

    Raises:
        DataError: a weight or flag has no meaning, two contradict each other, or a field decides loss in a
            way that is not read.
    """
    for key, value in turn.items():
        if key in _UNCLEAR and value is not None:
            problem = "is not read, and would decide loss; write it as `weight`, 0 for what is not trained"
            fail(origin, f"{where}.{key}", problem)
    weight = _weight(turn.get("weight"), f"{where}.weight", origin)
    flags = {
        key: _flag(value, f"{where}.{key}", origin)
        for key, value in turn.items()
        if key in FLAGS and value is not None
    }
    for key, trained in flags.items():
        other = next((name for name in flags if flags[name] != trained), None)
        if weight is not None and (weight > 0) != trained:
            other = "weight"
        if other:
            fail(
                origin, f"{where}.{key}", f"is {described(turn[key])}, but `{other}` says otherwise; keep one"
            )
    if weight is None:
        return 1.0 if all(flags.values()) else 0.0
    return weight


def refuse_record_weights(record: dict[str, Any], read: set[str], origin: str) -> None:
    """Stop at a field of the whole record that decides loss, where every message would be trained as it is.

    Args:
        record: the decoded record.
        read: fields that are read as something else.
        origin: where it was read.

    Raises:
        DataError: naming the field.
    """
    for key, value in record.items():
        if key not in _OF_RECORD or key in read or value is None:
            continue
        if isinstance(value, list) and key in _BY_TOKEN:
            fail(origin, key, "decides loss token by token, which is not read; give messages a `weight`")
        number = isinstance(value, int | float)
        if (number and not value) or (number and key == "weight" and value != 1):
            problem = f"is {described(value)}, and is not read for a whole record"
            fail(origin, key, f"{problem}; give its messages a `weight`, or remove the field or the record")


def _weight(value: object, where: str, origin: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_WEIGHT:
        fail(origin, where, f"is {described(value)}; must be a finite number >= 0")
    return float(np.float32(value))


def _flag(value: object, where: str, origin: str) -> bool:
    if not isinstance(value, int | float) or value not in (0, 1):
        fail(origin, where, f"is {described(value)}; must be true, false, 1 or 0, or be left out")
    return bool(value)
