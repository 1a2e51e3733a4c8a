"""Rotary settings of config.json, in both forms that readers know.

transformers 4 has `rope_theta` and `rope_scaling` (null where positions are not scaled); transformers 5 has
`rope_parameters` with theta inside. Readers of one form take the defaults for the other without a word, so
both are written, with equal values.
"""

from typing import Any, Final

from im_jax.config import ModelConfig, RopeScaling
from im_jax.models.families import sizes
from im_jax.models.files.json_keys import Keys

_KINDS: Final = {"default": "none", "linear": "linear", "llama3": "llama3"}
"""Their names and ours."""


def read_rope(keys: Keys, theta: float = 10000.0) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling` of `ModelConfig`.

    As in transformers 5, `rope_scaling` goes before `rope_parameters`, and what it lacks is taken from the
    top level.

    Args:
        keys: config.json.
        theta: the base where config.json names none.

    Raises:
        CheckpointError: a value cannot be, or the decoder does not have this scaling.
    """
    keys.only(partial_rotary_factor=(1.0, 1, None))
    theta = keys.number("rope_theta", theta, least=1)
    rope = keys.section("rope_scaling") or keys.section("rope_parameters")
    if rope is None:
        return {"rope_theta": theta, "rope_scaling": RopeScaling()}
    rope.only(partial_rotary_factor=(1.0, 1, None))
    old = rope.choice("type", *_KINDS, default=None)
    kind = rope.choice("rope_type", *_KINDS, default=old or "default")
    for key, value in rope.values.items():
        if isinstance(value, dict):
            raise rope.fail(key, "no object: settings that differ between layers are not supported")
    scaling = RopeScaling(_KINDS[kind])
    if kind != "default":
        scaling.factor = rope.number("factor", least=1)
    if kind == "llama3":
        scaling.low_freq_factor = rope.number("low_freq_factor", least=0)
        scaling.high_freq_factor = rope.number("high_freq_factor", least=0)
        scaling.original_max_positions = rope.size("original_max_position_embeddings", sizes.POSITIONS)
        if scaling.high_freq_factor <= scaling.low_freq_factor:
            raise rope.fail("high_freq_factor", f"above low_freq_factor, {scaling.low_freq_factor:g}")
    return {"rope_theta": rope.number("rope_theta", theta, least=1), "rope_scaling": scaling}


def write_rope(config: ModelConfig) -> dict[str, Any]:
    """The keys of both forms."""
    scaling, theta = config.rope_scaling, config.rope_theta
    rope: dict[str, Any] = {"rope_type": next(name for name, ours in _KINDS.items() if ours == scaling.kind)}
    if scaling.kind != "none":
        rope["factor"] = scaling.factor
    if scaling.kind == "llama3":
        rope |= {
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_positions,
        }
    return {
        "rope_theta": theta,
        "rope_scaling": None if scaling.kind == "none" else rope,
        "rope_parameters": {**rope, "rope_theta": theta},
    }
