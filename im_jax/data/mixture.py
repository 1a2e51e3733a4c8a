"""`data.mixture`: several sources, each with a name, files or a recipe, and how much of it.

    dolly = recipe:alpagasus_dolly_3k:files/dolly_3k.json.gz @ all
    gsm8k = gsm8k/train.jsonl.gz @ 2000
    code  = code/*.parquet @ x0.5

Entries end with a semicolon or a line. What stands behind the last `@` says how much: `all`; a number of
examples, drawn without repetition; or `x` and how often each example occurs, half of them with `x0.5`, each
twice with `x2`, each once and half of them twice with `x1.5`.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RECIPE: Final = "recipe:"
_HOW: Final = "write NAME=FILES@AMOUNT or NAME=recipe:RECIPE:FILES@AMOUNT, with AMOUNT all, 2000 or x0.5"
_MOST_TIMES: Final = 1000
MOST_SOURCES: Final = 1000


class Amount(NamedTuple):
    """How much of a source: one of both, or all of it if neither."""

    examples: int | None = None
    times: float | None = None

    def __str__(self) -> str:
        if self.examples is not None:
            return f"{self.examples:,}"
        return "all" if self.times is None else f"x{self.times:g}"


@dataclass(frozen=True)
class Entry:
    """A source of a mixture, as the user wrote it."""

    name: str
    recipe: str
    """Empty: the files are of a known format."""
    path: str
    """Empty: where `data.path` says the files of the recipe are."""
    amount: Amount


def parse_mixture(text: str, field: str = "data.mixture") -> list[Entry]:
    """The sources of a text such as `a=a.jsonl@all; b=recipe:lima@x2`.

    Raises:
        ConfigError: an entry is malformed, or two have one name.
    """
    pieces = [piece.strip() for piece in re.split(r"[;\n]", text)]
    entries: list[Entry] = []
    for piece in filter(None, pieces):
        entry = _entry(piece, field)
        if entry.name in [other.name for other in entries]:
            raise ConfigError(f"{field}: two sources are called {entry.name}; give each a name of its own")
        entries.append(entry)
    if not entries:
        raise ConfigError(f"{field} names no source; {_HOW}, several joined by semicolons")
    if len(entries) > MOST_SOURCES:
        raise ConfigError(
            f"{field} names {len(entries)} sources, more than {MOST_SOURCES}; join some of them"
        )
    return entries


def _entry(piece: str, field: str) -> Entry:
    where = f"{field}: {piece!r}"
    name, equals, rest = (part.strip() for part in piece.partition("="))
    if not equals:
        raise ConfigError(f"{where} has no `=` behind a name; {_HOW}")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: {name!r} is no name; use letters, digits, `_` and `-`, a letter first")
    place, at, amount = (part.strip() for part in rest.rpartition("@"))
    if not at:
        raise ConfigError(f"{where} does not say how much of it; end it with @all, @2000 or @x0.5")
    recipe, path = "", place
    if place.startswith(_RECIPE):
        recipe, _, path = (part.strip() for part in place.removeprefix(_RECIPE).partition(":"))
        if not recipe:
            raise ConfigError(f"{where} names no recipe behind `{_RECIPE}`; docs/recipes.md lists all")
    elif not path:
        raise ConfigError(f"{where} names no files; {_HOW}")
    return Entry(name, recipe, path, parse_amount(amount, where))


def parse_amount(text: str, where: str) -> Amount:
    """`all`, `2000` or `x0.5`. Raises `ConfigError`, which begins with `where`."""
    if text == "all":
        return Amount()
    if re.fullmatch(r"[0-9][0-9_,]*", text):
        if count := int(re.sub("[_,]", "", text)):
            return Amount(examples=count)
        raise ConfigError(f"{where}: 0 examples are none; leave the source out")
    if match := re.fullmatch(r"x\s*([0-9]*\.?[0-9]+)", text):
        times = float(match[1])
        if 0 < times <= _MOST_TIMES:
            return Amount(times=times)
        raise ConfigError(f"{where}: {text} must be above 0 and at most x{_MOST_TIMES}")
    hint = f"x{text} is how often each example occurs" if re.fullmatch(r"[0-9]*\.[0-9]*", text) else "use one"
    raise ConfigError(f"{where}: {text!r} is no amount: all, a number such as 2000, or x0.5; {hint}")


def occurrences(count: int, amount: Amount, seed: int, name: str) -> jt.UInt16[np.ndarray, " E"]:
    """How often each of E examples of a source is trained on.

    Args:
        count: E.
        amount: how much of them.
        seed: with the name it decides which; a smaller amount takes a part of what a larger one takes.
        name: of the source: the draw of one does not depend on the others.

    Raises:
        ConfigError: more examples are asked for than there are.
    """
    if amount.examples is not None and amount.examples > count:
        raise ConfigError(
            f"{name or 'the source'} has {count:,} usable examples, fewer than the {amount.examples:,} asked "
            f"for; lower the number, or use @all or @x{amount.examples / max(count, 1):.3g}"
        )
    whole, rest = divmod(1.0 if amount.times is None else amount.times, 1)
    more = round(rest * count)
    if amount.examples is not None:
        whole, more = 0, amount.examples
    times = np.full(count, int(whole), np.uint16)
    if more:
        times[np.random.default_rng([seed, *name.encode()]).permutation(count)[:more]] += 1
    return times
