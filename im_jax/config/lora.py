"""`model.lora`: a low-rank adapter beside a model that is not changed."""

from dataclasses import dataclass
from typing import Final

from im_jax.config.record import ABOVE_ZERO, BELOW_ONE, When, at_least, setting

_NEW: Final = When("model.lora.path", ("",), "the adapter at model.lora.path={value} decides it")


@dataclass
class LoraConfig:
    """Low-rank adapters (LoRA) beside a model that is only read."""

    rank: int = setting(
        0,
        "Rank of the change of each adapted map; 0: no adapter, the model itself is trained.",
        bounds=at_least(0),
        when=_NEW,
        see="adapters.md",
    )
    alpha: float = setting(
        32.0, "The change is scaled by alpha / rank, or as `rslora` says.", bounds=ABOVE_ZERO, when=_NEW
    )
    rslora: bool = setting(
        False, "Scale by alpha / sqrt(rank), which lets larger ranks learn as fast.", when=_NEW
    )
    dropout: float = setting(
        0.0,
        "Share of an adapter's inputs that is dropped in training, drawn anew each step.",
        bounds=BELOW_ONE,
    )
    targets: str = setting(
        "all-linear",
        "Adapted maps of all layers: `all-linear`, names such as `q_proj,v_proj`, or `re:` and a pattern.",
        when=_NEW,
        see="adapters.md#which-maps",
    )
    path: str = setting(
        "",
        "Folder of a PEFT adapter to start from, of the model at `model.path`; empty: a new adapter.",
        may_change=True,  # a run that is resumed has the adapter in its own checkpoint
        see="adapters.md#adapters-of-peft",
    )
