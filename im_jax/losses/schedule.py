"""Weights of token classes that change over a run: `loss.schedule`.

    instruction:1..0@50%      1 at the first step, then less each step, and 0 once half of the steps are taken
    user:1..0.2@100-500       the same from step 100 to step 500
    stop:1..2                 over the whole run

Entries are joined by commas. A class is one of `loss.weights`, `instruction` (what is read: system, user,
tool) or `output` (what is written: assistant, stop), and sets those that are part of it too.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from im_jax.config.checks import did_you_mean
from im_jax.config.loss import WEIGHT
from im_jax.errors import ConfigError
from im_jax.token_classes import INSTRUCTION_CLASSES, OUTPUT_CLASSES, TokenClass

_WEIGHT: Final = r"\d+(?:\.\d+)?"
_MOMENT: Final = r"\d+(?:\.\d+)?%|\d+"
_ENTRY: Final = re.compile(
    rf"(?P<name>\w+):(?P<first>{_WEIGHT})\.\.(?P<last>{_WEIGHT})(?:@(?:(?P<begins>{_MOMENT})-)?(?P<ends>{_MOMENT}))?"
)
_CLASSES: Final = {
    "instruction": INSTRUCTION_CLASSES,
    "output": tuple(c for c in OUTPUT_CLASSES if c.main is c),
} | {c.label: (c,) for c in TokenClass if c not in (TokenClass.PAD, TokenClass.BOS)}


class Moment(NamedTuple):
    """A time in a run: so many steps taken, or such a share of all."""

    value: float
    is_share: bool

    def steps(self, last_step: int) -> int:
        """Steps that are taken by then."""
        return round(self.value * last_step) if self.is_share else int(self.value)


class Ramp(NamedTuple):
    """A weight that goes from one value to another, linearly in the steps taken, and stays on both sides."""

    text: str
    """As it was written."""
    first: float
    last: float
    begins: Moment
    ends: Moment

    @property
    def largest(self) -> float:
        """Of all weights on the way."""
        return max(self.first, self.last)

    def __str__(self) -> str:
        """For a reader: `1..0`."""
        return f"{self.first:g}..{self.last:g}"

    def within(self, last_step: int) -> tuple[int, int]:
        """Steps that are taken when it begins and when it has ended.

        Raises:
            ConfigError: it would end after the run, or before it begins.
        """
        begins, ends = self.begins.steps(last_step), self.ends.steps(last_step)
        if ends > last_step:
            raise ConfigError(
                f"loss.schedule: {self.text} ends after {ends} steps, but the run has {last_step}; end it by "
                "then, or give a share of the run, as @50%"
            )
        if begins > ends:
            raise ConfigError(f"loss.schedule: {self.text} begins after {begins} steps and ends after {ends}")
        return begins, ends


def read_schedule(text: str) -> dict[TokenClass, Ramp]:
    """The ramp of each class that a schedule names, in the order of its entries.

    Raises:
        ConfigError: it cannot be read, or says nothing that makes sense; names the entry.
    """
    ramps: dict[TokenClass, Ramp] = {}
    for entry in _entries(text):
        name, ramp = _ramp(entry)
        for token_class in _CLASSES[name]:
            if token_class in ramps:
                both = f"{ramps[token_class].text} and {entry}"
                raise ConfigError(f"loss.schedule: {both} both set {token_class.label}; leave one out")
            ramps[token_class] = ramp
    return ramps


def _entries(text: str) -> Iterator[str]:
    if text.strip():
        yield from (entry.strip() for entry in text.split(","))


def _ramp(entry: str) -> tuple[str, Ramp]:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ConfigError(
            f"loss.schedule: {entry!r} is not CLASS:FROM..TO, with @END or @START-END behind it in steps or "
            "percent of the run, as instruction:1..0@50%"
        )
    name, first, last = found["name"], float(found["first"]), float(found["last"])
    if name not in _CLASSES:
        raise ConfigError(
            f"loss.schedule: {entry}: {name} is not one of {', '.join(_CLASSES)}"
            f"{did_you_mean(name, _CLASSES)}"
        )
    for weight in (first, last):
        if not WEIGHT.hold(weight):
            raise ConfigError(f"loss.schedule: {entry}: {weight:g} must be a number from {WEIGHT}")
    if first == last:
        raise ConfigError(
            f"loss.schedule: {entry} changes nothing; set loss.weights.{name}={first:g} instead"
        )
    begins, ends = _moment(entry, found["begins"] or "0"), _moment(entry, found["ends"] or "100%")
    if not ends.value:
        raise ConfigError(f"loss.schedule: {entry} ends before the first step; set loss.weights instead")
    ramp = Ramp(entry, first, last, begins, ends)
    if begins.is_share == ends.is_share and begins.value > ends.value:
        raise ConfigError(f"loss.schedule: {entry} ends before it begins")
    return name, ramp


def _moment(entry: str, text: str) -> Moment:
    if not text.endswith("%"):
        return Moment(float(text), is_share=False)
    percent = float(text.removesuffix("%"))
    if percent > 100:
        raise ConfigError(f"loss.schedule: {entry}: {text} is after the end of the run; 100% is the end")
    return Moment(percent / 100, is_share=True)
