"""Rotary settings of config.json, in both forms that readers know.

transformers 4 has `rope_theta` and `rope_scaling` (null where positions are not scaled); transformers 5 has
`rope_parameters` with theta inside. Readers of one form take the defaults for the other without a word, so
both are written, with equal values.
"""

import math
from typing import Any, Final

from im_jax.config import ModelConfig, RopeScaling
from im_jax.models.families import sizes
from im_jax.models.files.json_keys import Keys

_KINDS: Final = {
    "default": "none",
    "linear": "linear",
    "llama3": "llama3",
    "yarn": "yarn",
    "longrope": "longrope",
    "su": "longrope",
}
"""Their names, the old one of longrope among them, and ours."""
_FULL, _SLIDING = "full_attention", "sliding_attention"


def read_rope(
    keys: Keys, theta: float = 10000.0, share: float = 1.0, *, in_part: bool = False
) -> dict[str, Any]:
    """`rope_theta`, `rope_scaling` and `rope_share` of `ModelConfig`.

    As in transformers 5, `rope_scaling` goes before `rope_parameters`, and what it lacks is taken from the
    top level.

    Args:
        keys: config.json.
        theta: the base where config.json names none.
        share: the part of a head that is turned where config.json names none.
        in_part: whether models of the family can turn a part.

    Raises:
        CheckpointError: a value cannot be, or the decoder does not have this scaling.
    """
    theta = keys.number("rope_theta", theta, least=1)
    rope = keys.section("rope_scaling") or keys.section("rope_parameters")
    if not in_part:
        for one in (keys, rope) if rope else (keys,):
            one.only(partial_rotary_factor=(1.0, 1, None))
    share = _share(keys, share)
    if rope is None:
        return {"rope_theta": theta, "rope_scaling": RopeScaling(), "rope_share": share}
    for key, value in rope.values.items():
        if isinstance(value, dict):
            raise rope.fail(key, "no object: settings that differ between layers are not supported")
    return _read(rope, keys, theta, share)


def read_rope_by_layer(keys: Keys, theta: float, window_theta: float | None) -> dict[str, Any]:
    """The same, and `window_rope_theta`, where layers with a window have their own.

    Args:
        keys: config.json.
        theta: the base of the other layers where config.json names none.
        window_theta: the base of layers with a window where config.json names none; None: as the others.
    """
    theta = keys.number("rope_theta", theta, least=1)
    new = keys.section("rope_parameters")
    rope = keys.section("rope_scaling") or (new.section(_FULL) if new else None)
    found: dict[str, Any] = {"rope_theta": theta, "rope_scaling": RopeScaling()}
    if rope:
        found = _read(rope, keys, theta, 1.0)
    local = theta if window_theta is None else window_theta
    local = keys.number("rope_local_base_freq", local, least=1)
    if new and (sliding := new.section(_SLIDING)):
        sliding.only(rope_type="default", type="default")
        local = sliding.number("rope_theta", local, least=1)
    alike = found["rope_scaling"].kind == "none" and local == found["rope_theta"]
    return found | {"window_rope_theta": None if alike else local}


def write_rope(config: ModelConfig) -> dict[str, Any]:
    """The keys of both forms."""
    rope = _written(config.rope_scaling)
    old = None if config.rope_scaling.kind == "none" else rope
    share = {} if config.rope_share == 1.0 else {"partial_rotary_factor": config.rope_share}
    top = {"original_max_position_embeddings": rope[_ORIGINAL]} if _ORIGINAL in rope else {}
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": old,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta, **share},
        **(top if config.rope_scaling.kind == "longrope" else {}),
        **share,
    }


def write_rope_by_layer(config: ModelConfig) -> dict[str, Any]:
    """The keys that `read_rope_by_layer` reads, in both forms."""
    rope = _written(config.rope_scaling)
    local = config.window_rope_theta or config.rope_theta
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling.kind == "none" else rope,
        "rope_local_base_freq": local,
        "rope_parameters": {
            _FULL: {**rope, "rope_theta": config.rope_theta},
            _SLIDING: {"rope_type": "default", "rope_theta": local},
        },
    }


_ORIGINAL: Final = "original_max_position_embeddings"


def _share(keys: Keys, default: float) -> float:
    if keys.values.get("partial_rotary_factor", 1) is None:
        return default
    return keys.number("partial_rotary_factor", default, least=0, most=1)


def _read(rope: Keys, keys: Keys, theta: float, share: float) -> dict[str, Any]:
    old = rope.choice("type", *_KINDS, default=None)
    kind = _KINDS[rope.choice("rope_type", *_KINDS, default=old or "default")]
    scaling = RopeScaling(kind)
    if kind in ("linear", "llama3"):
        scaling.factor = rope.number("factor", least=1)
    if kind == "llama3":
        scaling.low_freq_factor = rope.number("low_freq_factor", least=0)
        scaling.high_freq_factor = rope.number("high_freq_factor", least=0)
        scaling.original_max_positions = rope.size(_ORIGINAL, sizes.POSITIONS)
        if scaling.high_freq_factor <= scaling.low_freq_factor:
            raise rope.fail("high_freq_factor", f"above low_freq_factor, {scaling.low_freq_factor:g}")
    if kind in ("yarn", "longrope"):
        positions = keys.optional_size("max_position_embeddings", sizes.POSITIONS)
        original = rope.optional_size(_ORIGINAL, sizes.POSITIONS, positions)
        # At the top level, as Phi writes it, it goes first.
        original = keys.optional_size(_ORIGINAL, sizes.POSITIONS, original)
        if original is None:
            raise rope.fail(_ORIGINAL, "a whole number: positions before the context was extended")
        scaling.original_max_positions = original
        factor = (positions or original) / original
        if rope.values.get("factor") is not None:
            factor = rope.number("factor", least=1)
        _read_yarn(rope, scaling, factor) if kind == "yarn" else _read_longrope(rope, scaling, factor)
    return {
        "rope_theta": rope.number("rope_theta", theta, least=1),
        "rope_scaling": scaling,
        "rope_share": _share(rope, share),
    }


def _read_yarn(rope: Keys, scaling: RopeScaling, factor: float) -> None:
    def grown(key: str) -> float:
        return 1.0 if factor <= 1 else 0.1 * (rope.values.get(key) or 1) * math.log(factor) + 1.0

    scaling.factor = factor
    usual = RopeScaling()
    scaling.beta_fast = _number_or(rope, "beta_fast", usual.beta_fast)
    scaling.beta_slow = _number_or(rope, "beta_slow", usual.beta_slow)
    scaling.whole_pairs = rope.flag("truncate", True)
    both = _number_or(rope, "mscale", 0) and _number_or(rope, "mscale_all_dim", 0)
    attention = grown("mscale") / grown("mscale_all_dim") if both else grown("")
    scaling.attention_factor = _number_or(rope, "attention_factor", attention)


def _read_longrope(rope: Keys, scaling: RopeScaling, factor: float) -> None:
    grown = 1.0 + math.log(max(factor, 1.0)) / math.log(max(scaling.original_max_positions, 2))
    scaling.factor = factor
    scaling.attention_factor = _number_or(rope, "attention_factor", math.sqrt(grown))
    for ours, theirs in (("short_factors", "short_factor"), ("long_factors", "long_factor")):
        numbers = rope.values.get(theirs)
        if not isinstance(numbers, list) or not all(isinstance(x, int | float) and x > 0 for x in numbers):
            raise rope.fail(theirs, "a list of numbers above 0, one for each pair of a head that is turned")
        setattr(scaling, ours, ",".join(f"{number!r}" for number in numbers))


def _number_or(rope: Keys, key: str, default: float) -> float:
    return default if rope.values.get(key) is None else rope.number(key, least=0)


def _written(scaling: RopeScaling) -> dict[str, Any]:
    """The scaling without theta."""
    rope: dict[str, Any] = {"rope_type": next(name for name, ours in _KINDS.items() if ours == scaling.kind)}
    if scaling.kind != "none":
        rope["factor"] = scaling.factor
    if scaling.kind == "llama3":
        rope |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind in ("yarn", "longrope"):
        rope["attention_factor"] = scaling.attention_factor
    if scaling.kind == "yarn":
        rope |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        rope["truncate"] = scaling.whole_pairs
    if scaling.kind == "longrope":
        for ours, theirs in (("short_factors", "short_factor"), ("long_factors", "long_factor")):
            rope[theirs] = [float(number) for number in getattr(scaling, ours).split(",")]
    if scaling.kind in ("llama3", "yarn", "longrope"):
        rope[_ORIGINAL] = scaling.original_max_positions
    return rope
