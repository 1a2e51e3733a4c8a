"""Which modules a PEFT adapter changes, and with which rank and scale, by PEFT's own rules.

Modules are named as in the model, `model.layers.0.self_attn.q_proj`. Source: peft 0.21.2,
`check_target_module_exists` in tuners/tuners_utils.py and `get_pattern_key` in utils/other.py.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ALL_LINEAR: Final = "all-linear"

Names = str | tuple[str, ...]
"""A regular expression of whole names, or ends of names."""


@dataclass(frozen=True)
class PeftConfig:
    """What an adapter_config.json says of an adapter."""

    rank: int
    alpha: float
    rslora: bool
    targets: Names
    excluded: Names
    layers: tuple[int, ...]
    """Numbers of the layers that are changed; empty: all."""
    layers_names: tuple[str, ...]
    """What stands before the number of a layer in names; empty: anything."""
    ranks: Mapping[str, int]
    """Ranks that differ, by expressions for ends of names."""
    alphas: Mapping[str, float]

    def changes(self, module: str, *, is_map: bool) -> bool:
        """Whether a module is changed.

        Args:
            module: its name.
            is_map: whether it is a linear map other than the head: what `all-linear` means.
        """
        if self.excluded and _named(module, self.excluded):
            return False
        if self.targets == ALL_LINEAR:
            return is_map
        if not _named(module, self.targets):
            return False
        return isinstance(self.targets, str) or not self.layers or self._layer(module) in self.layers

    def rank_of(self, module: str) -> int:
        """The rank of the change of a module."""
        return self.ranks.get(_key(self.ranks, module), self.rank)

    def alpha_of(self, module: str) -> float:
        """What `lora_alpha` is for a module."""
        return self.alphas.get(_key(self.alphas, module), self.alpha)

    def scale_of(self, module: str) -> float:
        """What the product of its B and A is multiplied by."""
        rank = self.rank_of(module)
        return self.alpha_of(module) / (math.sqrt(rank) if self.rslora else rank)

    def _layer(self, module: str) -> int | None:
        if not self.layers_names:
            found = re.match(r".*?\.[^.]*\.(?P<number>\d+)\.", module)
            return int(found["number"]) if found else None
        for name in self.layers_names:
            if found := re.match(rf"(?:^|.*?\.){name}\.(?P<number>\d+)\.", module):
                return int(found["number"])
        return None


def _named(module: str, names: Names) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)


def _key(patterns: Mapping[str, object], module: str) -> str:
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)
