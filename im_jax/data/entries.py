"""The sources that a configuration asks for: one, or those of a mixture, each configured on its own."""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from im_jax.config import DataConfig
from im_jax.data.files.location import has_folder
from im_jax.data.mixture import Amount, parse_amount, parse_mixture
from im_jax.data.recipes import registry
from im_jax.data.recipes.conversions import Chain, Instruction
from im_jax.data.recipes.names import without_names
from im_jax.data.recipes.places import paths_of
from im_jax.data.recipes.recipe import Recipe
from im_jax.errors import ConfigError


@dataclass(frozen=True)
class SourceEntry:
    """One source: what is read, and how much of it is used."""

    name: str
    """Empty where there is only one."""
    data: DataConfig
    """The configuration as if this were the only source: its own `path`, no mixture."""
    recipe: Recipe | None
    """What makes conversations of its records; None: they are in a known format."""
    amount: Amount
    field: str = "data.path"
    """The field of the configuration that names its files."""
    reading: str = ""
    """What decides, beside `data` and the files, what records become: changes with every such choice."""


def check_entries(data: DataConfig) -> None:
    """Stop at what is wrong with the sources of a configuration whatever their files hold.

    Raises:
        ConfigError: `data.mixture` is malformed, a recipe is unknown, or fields contradict each other.
    """
    if data.mixture:
        _refuse_beside_mixture(data)
        for entry in parse_mixture(data.mixture):
            _check_parts(entry.name, entry.recipe, entry.amount)
    elif data.recipe:
        registry.find(data.recipe)
        if data.fields != type(data.fields)():
            raise ConfigError(
                f"data.fields have no effect with data.recipe={data.recipe}, which knows its fields"
            )
    if data.subset.ratio is not None and not data.subset.examples:
        raise ConfigError(
            f"data.subset.ratio={data.subset.ratio:g} needs data.subset.examples, how many of the closest "
            "are taken"
        )


def _check_parts(name: str, recipe: str, amount: Amount) -> None:
    if recipe and registry.find(recipe).parts and amount != Amount():
        raise ConfigError(f"data.mixture: {name} is the recipe {recipe}, whose parts say how much; use @all")


def source_entries(data: DataConfig) -> list[SourceEntry]:
    """The sources of a configuration, in order.

    Raises:
        ConfigError: `data.mixture` is malformed, or fields contradict each other.
        DataError: files of a recipe are missing.
    """
    check_entries(data)
    if data.mixture:
        entries = [
            entry
            for one in parse_mixture(data.mixture)
            for entry in _entries(data, one.name, one.recipe, one.path, one.amount)
        ]
        _refuse_unread_split(data, entries)
        return entries
    if data.recipe:
        amount = parse_amount(registry.find(data.recipe).amount, data.recipe)
        entries = _entries(data, "", data.recipe, "", amount)
        _refuse_unread_split(data, entries)
        return entries
    return [SourceEntry("", data, None, Amount())]


def _entries(data: DataConfig, name: str, recipe: str, path: str, amount: Amount) -> list[SourceEntry]:
    """A source, or the parts of a recipe that is composed of some."""
    if not recipe:
        return [SourceEntry(name, _only(data, path), None, amount, _field(data))]
    known, where = registry.find(recipe), path or data.path
    if not known.parts:
        files = paths_of(known, where, _field(data) if path else "data.path")
        made = as_asked(known, data.wrapping)
        said = _reading(known, data.wrapping)
        return [SourceEntry(name, _only(data, files, recipe), made, amount, _field(data), said)]
    entries = []
    for part in known.parts:
        of_part = registry.find(part.recipe)
        made = as_asked(of_part, data.wrapping, names_left_out=part.names_left_out)
        called = f"{name}_{part.recipe}" if name else part.recipe
        part_data = _only(data, paths_of(of_part, where), part.recipe)
        amount = parse_amount(part.amount, recipe)
        said = _reading(of_part, data.wrapping, names_left_out=part.names_left_out)
        entries.append(SourceEntry(called, part_data, made, amount, _field(data), said))
    return entries


def _only(data: DataConfig, path: str, recipe: str = "") -> DataConfig:
    """The configuration of one source."""
    alone = copy.deepcopy(data)
    alone.path, alone.recipe, alone.mixture = path, recipe, ""
    if recipe or (data.mixture and not has_folder(path)):
        alone.split = type(data)().split  # of other sources
    if recipe:
        alone.fields = type(data.fields)()
        alone.turns = registry.find(recipe).turns_for(data.turns)
    return alone


def as_asked(recipe: Recipe, wrapping: str, *, names_left_out: bool = False) -> Recipe:
    """A recipe with what the user chose: wrapped text or plain, names of models left out or not."""
    convert = recipe.convert
    if recipe.wraps and wrapping == "plain":
        assert isinstance(convert, Instruction)
        convert = dataclasses.replace(convert, wrap=False)
    if names_left_out:
        convert = without_names if convert is None else Chain(convert, without_names)
    return dataclasses.replace(recipe, convert=convert)


def _field(data: DataConfig) -> str:
    return "data.mixture" if data.mixture else "data.path"


def _reading(recipe: Recipe, wrapping: str, *, names_left_out: bool = False) -> str:
    parts = [f"{recipe.name}, version {recipe.version}"]
    parts += [wrapping] if recipe.wraps else []
    parts += ["without names"] if names_left_out else []
    return ", ".join(parts)


def _refuse_unread_split(data: DataConfig, entries: Sequence[SourceEntry]) -> None:
    """Stop at a split that no source reads: a recipe names its files itself."""
    if data.split not in ("train", *(entry.data.split for entry in entries)):
        raise ConfigError(
            f"data.split is {data.split!r}, but no source is a folder of shards and no recipe; leave it out"
        )


def _refuse_beside_mixture(data: DataConfig) -> None:
    if data.recipe:
        raise ConfigError(
            f"data.recipe={data.recipe} and data.mixture are both set; name the recipe in the mixture, as "
            f"{data.recipe}=recipe:{data.recipe}@all"
        )
