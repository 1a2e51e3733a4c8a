"""What a recipe says of a training set."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from im_jax.config import TurnsConfig

Fields = dict[str, Any]
"""A decoded record."""


@dataclass(frozen=True)
class LeftOut:
    """What a conversion gives in place of a record that does not belong to the training set."""

    reason: str
    """A few words, the same for all records that are left out for it: they are counted by it."""


Conversion = Callable[[Fields, int], Fields | LeftOut | Sequence[Fields]]
"""From a record and its number in its file, from 0, to a record in one of the known formats, to several, or
to none. Called in worker processes, so it is a function of a module or an object of such parts. A record that
it cannot read it gives back as it is: the reader of records then says what is wrong with it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a training set, or the files that a pattern names."""

    name: str
    """Its path where the set is published, which may be a pattern: `data/train-*.parquet`."""
    url: str = ""
    """Where it is fetched from; empty where a hub's own command is needed."""
    size: str = ""
    """For a reader: `555 MB`; empty: unknown."""
    sha256: str = ""
    """Of the file as it is published; empty: unknown."""


@dataclass(frozen=True)
class PaperFigures:
    """A line of Table 5 of the paper: words between spaces, one more per message, and their ratio."""

    examples: int
    output_words: float
    instruction_words: float
    ratio: float


@dataclass(frozen=True)
class Part:
    """A recipe within another one, which is then a mixture."""

    recipe: str
    amount: str
    """As in `data.mixture`: `all`, `25000` or `x10`."""
    names_left_out: bool = False
    """Whether conversations that hold a name of a model or its maker are left out: `recipes.names`."""


@dataclass(frozen=True)
class Recipe:
    """A training set: where it is to be had, and what makes conversations of it."""

    name: str
    title: str
    page: str
    """Where it is described."""
    licence: str
    """As its publisher states it."""
    citation: str
    files: tuple[RemoteFile, ...]
    columns: tuple[str, ...]
    """Fields of a record."""
    records: int | None = None
    """In the files; None: unknown."""
    also: tuple[RemoteFile, ...] = ()
    """Files that hold the same set in another form, read where they are given instead."""
    convert: Conversion | None = None
    """None: its records are in a known format."""
    wraps: bool = False
    """Whether user text is instruction and input in a wrapper, unless `data.wrapping=plain`."""
    version: int = 1
    """Raised with every change of what comes out, so that what was encoded before is not used."""
    amount: str = "all"
    """How much of it is used, as in `data.mixture`, unless the user says otherwise."""
    turns: Mapping[str, str] = field(default_factory=dict)
    """Choices of `data.turns` by which it is the set that is meant, unless the user says otherwise."""
    share: float | None = None
    """Of each of its own sources, the first this many: `recipes.first_come`. None: all."""
    share_by: str = ""
    """The field that names those sources."""
    parts: tuple[Part, ...] = ()
    """Recipes that it is composed of; it has no files of its own then."""
    hub: str = ""
    """Name of the data set on the Hugging Face hub."""
    gated: bool = False
    """Whether a licence must be accepted there first."""
    paper: PaperFigures | None = None
    notes: str = ""
    """What a user should know: how it differs from what the paper used, what is unknown."""

    def turns_for(self, turns: TurnsConfig) -> TurnsConfig:
        """The choices of a user, those of the recipe where the user's are the default ones."""
        usual = TurnsConfig()
        own = {name: to for name, to in self.turns.items() if getattr(turns, name) == getattr(usual, name)}
        return dataclasses.replace(turns, **own)


IM_REPOSITORY: Final = "https://raw.githubusercontent.com/ZhengxiangShi/InstructionModelling/main/data/"
"""Files that the paper trained on."""
