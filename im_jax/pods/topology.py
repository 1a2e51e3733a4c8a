"""Names of slices, `v5e:8x8` or `h100:8`, checked here: libtpu takes an empty one, and sizes that are not."""

import itertools
import math
import re
from typing import Final, NamedTuple

from im_jax.config.checks import did_you_mean
from im_jax.errors import ConfigError
from im_jax.pods.chips import CHIPS, Chip
from im_jax.text import counted

_FLAT: Final = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
"""Shapes of slices of v5e and v6e."""
_BELOW_A_CUBE: Final = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))
"""Shapes of slices of the others with less than 64 chips; above, each side is a multiple of 4."""
_ALIASES: Final = {"v5litepod": "v5e", "v5lite": "v5e", "tpu7": "tpu7x", "v7x": "tpu7x"}
_CORES: Final = ("v4", "v5p")
"""Whose accelerator types, such as v5p-32, count TensorCores, two in a chip."""


class Topology(NamedTuple):
    """Slices of one shape."""

    name: str
    """`v5e:8x8`, as libtpu has it, or `h100:8`."""
    chip: Chip
    shape: tuple[int, ...]
    num_slices: int = 1

    @property
    def chips(self) -> int:
        """Of all slices."""
        return math.prod(self.shape) * self.num_slices

    @property
    def devices(self) -> int:
        """Of all slices, as JAX counts them."""
        return self.chips * self.chip.devices

    @property
    def is_tpu(self) -> bool:
        return self.chip.dimensions > 0

    def __str__(self) -> str:
        return f"{self.num_slices} x {self.name}" if self.num_slices > 1 else self.name


def parse(name: str, num_slices: int = 1) -> Topology:
    """The slices of a name.

    Raises:
        ConfigError: there is no such slice, with the name of one that there is.
    """
    if num_slices < 1:
        raise ConfigError(f"--num_slices={num_slices} must be 1 or more")
    chip_name, _, size = name.strip().lower().partition(":")
    if not chip_name:
        raise ConfigError("--topology is empty; name a slice, such as --topology=v5e:8x8 or h100:8")
    if chip_name not in CHIPS:
        raise _unknown(name)
    chip = CHIPS[chip_name]
    if not re.fullmatch(r"\d+(x\d+)*", size):
        raise ConfigError(f"--topology={name}: after the colon stands the shape, {_example(chip_name)}")
    shape = tuple(map(int, size.split("x")))
    if not chip.dimensions:
        if len(shape) != 1 or shape[0] < 1:
            raise ConfigError(
                f"--topology={name}: GPUs are counted; write {chip_name}:{math.prod(shape) or 8}"
            )
        return Topology(f"{chip_name}:{shape[0]}", chip, shape, num_slices)
    if not _is_rented(chip, shape):
        raise ConfigError(
            f"--topology={name}: there is no such slice of {chip_name}{_instead(chip_name, shape)}"
        )
    return Topology(f"{chip_name}:{size}", chip, shape, num_slices)


def candidates(chips: int = 256) -> list[str]:
    """Names of all slices of TPUs with up to so many chips."""
    return [
        f"{name}:{'x'.join(map(str, shape))}"
        for name, chip in CHIPS.items()
        if chip.dimensions
        for shape in _shapes(chip, chips)
    ]


def of_size(chip_name: str, chips: int) -> str | None:
    """The slice with a number of chips that is nearest to a cube; None if there is none."""
    fits = [shape for shape in _shapes(CHIPS[chip_name], chips) if math.prod(shape) == chips]
    return f"{chip_name}:{'x'.join(map(str, min(fits, key=max)))}" if fits else None


def _is_rented(chip: Chip, shape: tuple[int, ...]) -> bool:
    if chip.dimensions == 2:
        return shape in _FLAT
    cubes = len(shape) == 3 and shape == tuple(sorted(shape)) and all(side % 4 == 0 for side in shape)
    return shape in _BELOW_A_CUBE or (cubes and 0 < math.prod(shape) <= chip.most)


def _shapes(chip: Chip, chips: int) -> list[tuple[int, ...]]:
    """Of slices with up to so many chips, small ones first."""
    if chip.dimensions == 2:
        return [shape for shape in _FLAT if math.prod(shape) <= chips]
    sides = range(4, max(4, chips // 16) + 1, 4)
    cubes = itertools.combinations_with_replacement(sides, 3)
    found = [*_BELOW_A_CUBE, *(shape for shape in cubes if _is_rented(chip, shape))]
    return sorted(
        (shape for shape in found if math.prod(shape) <= chips), key=lambda s: (math.prod(s), max(s))
    )


def _unknown(name: str) -> ConfigError:
    """What is meant by the name of an accelerator type, `v5p-32`, or by a misspelt chip."""
    found = re.fullmatch(r"([a-z]+\d*[a-z]*)[-_ ](\d+)(?:x.*)?", name.strip().lower())
    chip_name = _ALIASES.get(found[1], found[1]) if found else name.partition(":")[0].lower()
    chip_name = _ALIASES.get(chip_name, chip_name)
    if chip_name in CHIPS and found:
        chips = int(found[2]) // (2 if chip_name in _CORES else 1)
        right = of_size(chip_name, chips) if CHIPS[chip_name].dimensions else f"{chip_name}:{chips}"
        meant = (
            f"its {counted(chips, 'chip')} are --topology={right}"
            if right
            else f"write {_example(chip_name)}"
        )
        return ConfigError(f"--topology={name} is the name of an accelerator type, not of a shape; {meant}")
    if chip_name in CHIPS:
        return ConfigError(f"--topology={name}: write {chip_name}:{name.partition(':')[2]}")
    return ConfigError(
        f"--topology={name}: no chip is called {chip_name!r}{did_you_mean(chip_name, CHIPS)}; known are "
        f"{', '.join(CHIPS)}, as in v5e:8x8 or h100:8"
    )


def _instead(chip_name: str, shape: tuple[int, ...]) -> str:
    """The slice that is meant, or the largest there is."""
    chip, chips = CHIPS[chip_name], math.prod(shape)
    if chips > chip.most:
        return f", which has {chip.most:,} chips at most; {_largest(chip_name)}"
    if right := of_size(chip_name, chips):
        return f"; the one with {counted(chips, 'chip')} is --topology={right}"
    near = sorted(_shapes(chip, 2 * chips + 8), key=lambda s: abs(math.prod(s) - chips))[:2]
    return "; near it are " + " and ".join(f"{chip_name}:{'x'.join(map(str, s))}" for s in near)


def _largest(chip_name: str) -> str:
    if CHIPS[chip_name].dimensions == 2:
        return f"set --topology={chip_name}:16x16 and --num_slices for more"
    return "set a smaller shape, and --num_slices for more"


def _example(chip_name: str) -> str:
    if not CHIPS[chip_name].dimensions:
        return f"{chip_name}:8"
    return f"{chip_name}:{'8x8' if CHIPS[chip_name].dimensions == 2 else '2x2x4'}"
