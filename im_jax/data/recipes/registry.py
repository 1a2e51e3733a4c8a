"""Recipes by name: every file in `recipes/sets` is one."""

import difflib
import functools
import importlib
import pkgutil
from types import ModuleType

from im_jax.data.recipes import sets
from im_jax.data.recipes.recipe import Recipe
from im_jax.errors import ConfigError


def names(package: ModuleType = sets) -> list[str]:
    """The names of all recipes, sorted; nothing is imported for it."""
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


@functools.cache
def find(name: str, package: ModuleType = sets) -> Recipe:
    """The recipe of a name.

    Raises:
        ConfigError: there is none; similar names are named.
    """
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
        hint = f"choose one of {', '.join(known)}"
        if near:
            hint = f"did you mean {' or '.join(near)}? docs/recipes.md lists all"
        raise ConfigError(f"there is no recipe {name!r}; {hint}")
    recipe: Recipe = importlib.import_module(f"{package.__name__}.{name}").RECIPE
    return recipe


def every(package: ModuleType = sets) -> list[Recipe]:
    """All recipes, by name."""
    return [find(name, package) for name in names(package)]
