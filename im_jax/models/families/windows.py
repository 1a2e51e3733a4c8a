"""Which layers have a window, as config.json says it by `layer_types` or by the older keys of a family."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import sizes
from im_jax.models.files.json_keys import Keys
from im_jax.models.kinds import kinds_of

_TYPES: Final = {"sliding_attention": True, "full_attention": False}


def read_layers(keys: Keys, window: int | None, usual: list[bool]) -> dict[str, Any]:
    """`sliding_window` and `window_pattern` of `ModelConfig`.

    Args:
        keys: config.json.
        window: tokens of the window, in layers that have one.
        usual: which these are where `layer_types` is not there.
    """
    types = keys.values.get("layer_types")
    if types is not None:
        known = isinstance(types, list) and len(types) == len(usual) and all(t in _TYPES for t in types)
        if not known:
            raise keys.fail("layer_types", f"a list of {len(usual)}, each {' or '.join(_TYPES)}")
        usual = [_TYPES[name] for name in types]
    if window is None or not any(usual):
        return {"sliding_window": None, "window_pattern": "1"}
    return {"sliding_window": window, "window_pattern": shortest("".join("01"[flag] for flag in usual))}


def write_layers(config: ModelConfig) -> dict[str, Any]:
    """`layer_types`."""
    names = {flag: name for name, flag in _TYPES.items()}
    return {"layer_types": [names[flag] for flag in kinds_of(config).windowed]}


def every(number: int, layers: int) -> list[bool]:
    """A window in all layers but each `number`th."""
    return [bool((layer + 1) % number) for layer in range(layers)]


def num_layers(keys: Keys) -> int:
    """Of the model."""
    return keys.size("num_hidden_layers", sizes.LAYERS)


def shortest(pattern: str) -> str:
    """The beginning of a pattern that gives all of it when it is repeated."""
    for length in range(1, len(pattern)):
        if (pattern[:length] * -(-len(pattern) // length))[: len(pattern)] == pattern:
            return pattern[:length]
    return pattern
