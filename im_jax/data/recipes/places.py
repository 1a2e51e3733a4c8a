"""Where the files of a recipe lie, or how they are fetched where they do not."""

import fnmatch
import os
import pathlib
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from im_jax.data.recipes.recipe import Recipe, RemoteFile
from im_jax.errors import DataError
from im_jax.stores import files_below, in_store, readable

_DEPTH: Final = 4
PACKED: Final = ("", ".gz", ".zst")
"""Endings that a file may have beside its published name: packed, it is read as well."""


def paths_of(recipe: Recipe, path: str, field: str = "data.path") -> str:
    """The files of a recipe, joined by commas, as `data.path` names them.

    Args:
        recipe: one without parts.
        path: a folder that holds its files under their published names, packed or not, at the place that they
            have there or without its folders; or anything else that names files, which is taken as it is.
        field: the field of the configuration that says so.

    Raises:
        DataError: there is no path, or the folder lacks a file; with how to fetch what is missing.
    """
    if not path:
        raise DataError(
            f"{field} is empty, and the recipe {recipe.name} needs its files. {how_to_fetch(recipe)}"
        )
    folder = readable(path)
    if not folder.is_dir():
        return path
    inside = sorted(_files_below(folder))
    for files in (recipe.files, *((file,) for file in recipe.also)):
        found = [_matching(file, inside) for file in files]
        if all(found):
            return ",".join(str(folder / name) for names in found for name in names)
    wanted = ", ".join(file.name for file in recipe.files)
    raise DataError(f"{field}: {path} holds no {wanted} for the recipe {recipe.name}. {how_to_fetch(recipe)}")


def _files_below(folder: pathlib.Path) -> Iterator[str]:
    """Files in a folder and its folders, down to a depth at which somebody may have meant them."""
    if in_store(folder):
        yield from (file.as_posix() for file in files_below(folder) if len(file.parts) <= _DEPTH + 1)
        return
    for parent, folders, names in os.walk(folder):
        place = pathlib.Path(parent).relative_to(folder)
        if len(place.parts) >= _DEPTH:
            folders.clear()
        yield from ((place / name).as_posix() for name in names)


def _matching(file: RemoteFile, inside: Iterable[str]) -> list[str]:
    """The files of a folder that a name or pattern means; those at their published place before others."""
    patterns = (file.name, file.name.rpartition("/")[2], f"*/{file.name.rpartition('/')[2]}")
    for pattern in dict.fromkeys(patterns):
        for ending in PACKED:
            if names := [name for name in inside if fnmatch.fnmatchcase(name, pattern + ending)]:
                return names
    return []


def how_to_fetch(recipe: Recipe) -> str:
    """What to download, by which commands, how large it is and under which licence, in one line."""
    commands = "; ".join(f"`{command}`" for command in commands_of(recipe))
    size = ", ".join(file.size for file in recipe.files if file.size) or "size unknown"
    gate = ", once you have accepted its licence there" if recipe.gated else ""
    return f"Fetch it with {commands} ({size}; licence: {recipe.licence}{gate}), then set data.path=FILES"


def commands_of(recipe: Recipe) -> list[str]:
    """Shell commands that download the files of a recipe to a folder FILES."""
    commands = []
    for file in recipe.files:
        if recipe.hub and not file.url.endswith(".zip"):
            place = f"{recipe.hub} --repo-type=dataset --include={shlex.quote(file.name)} --local-dir=FILES"
            commands.append(f"hf download {place}")
        elif file.url:
            name = file.url.rpartition("/")[2]
            commands.append(f"curl --location --create-dirs --output FILES/{name} {file.url}")
            if name.endswith(".zip"):
                commands.append(f"unzip -d FILES FILES/{name}")
    return list(dict.fromkeys(commands))
