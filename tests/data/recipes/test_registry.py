"""Recipes by name: one file each, complete, and in the documents."""

import dataclasses
import importlib
import pathlib
import pickle
import re
import sys
import types

import pytest

from im_jax.data.mixture import parse_amount
from im_jax.data.recipes import registry
from im_jax.data.recipes.describe import catalogue, catalogue_text, described, table, text_of
from im_jax.data.recipes.recipe import Recipe
from im_jax.errors import ConfigError
from tests.conftest import REPOSITORY

EVERY = registry.every()
TABLE_5 = {
    # Of the paper: examples, words of the output and of the instruction, and their ratio.
    "lima": (1030, 442.75, 41.72, 0.0942),
    "less_mmlu_chat": (13533, 8.24, 216.95, 26.3316),
    "less_tydiqa": (13533, 25.13, 147.31, 5.862),
    "less_bbh_icl": (13533, 61.44, 200.60, 3.265),
    "alpagasus_dolly_3k": (2996, 68.08, 43.83, 0.6439),
    "alpagasus_dolly_9k": (9229, 56.62, 16.79, 0.2965),
    "alpagasus_alpaca_5k": (5305, 30.81, 17.48, 0.5672),
    "tulu_v2": (326181, 343.56, 197.60, 0.5751),
    "wizardlm": (30000, 258.35, 91.71, 0.3550),
    "sharegpt": (50000, 831.15, 204.24, 0.2457),
    "science": (7544, 46.46, 1149.62, 24.7417),
    "stanford_alpaca": (52002, 45.18, 18.59, 0.4115),
    "code_alpaca": (20022, 27.40, 22.34, 0.8156),
}
OTHERS = ("tulu_v2_10", "tulu_v2_20", "tulu_v2_50", "dolly_15k", "tulu_3", "smoltalk", "ultrachat_200k")


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_a_recipe_is_complete(recipe: Recipe) -> None:
    module = importlib.import_module(f"im_jax.data.recipes.sets.{recipe.name}")
    assert module.RECIPE is recipe
    assert recipe.title and recipe.licence and recipe.citation and recipe.page.startswith("https://")
    assert bool(recipe.files) != bool(recipe.parts), "it has files, or it has parts"
    assert recipe.parts or recipe.columns
    assert (recipe.share is None) == (recipe.share_by == "")
    parse_amount(recipe.amount, recipe.name)
    for file in (*recipe.files, *recipe.also):
        assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256)
    for part in recipe.parts:
        parse_amount(part.amount, part.recipe)
        assert not registry.find(part.recipe).parts, "no mixture is in a mixture"
    assert pickle.loads(pickle.dumps(recipe.convert)) == recipe.convert, "workers are given it"


def test_every_set_of_table_5_has_its_figures() -> None:
    figures = {recipe.name: dataclasses.astuple(recipe.paper) for recipe in EVERY if recipe.paper is not None}
    parts = figures.pop("tulu_v2_parts")
    assert figures == TABLE_5
    assert parts == TABLE_5["tulu_v2"]
    assert set(OTHERS) | {"no_robots", "openhermes_2_5"} <= set(registry.names())


def test_checksums_are_those_of_the_files_that_are_here(shared_data: pathlib.Path) -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in shared_data.glob("*/SOURCE.md"))
    stated = [file.sha256 for recipe in EVERY for file in (*recipe.files, *recipe.also) if file.sha256]
    assert len(stated) == 4
    assert all(digest in known for digest in stated)


def test_a_recipe_is_added_by_adding_a_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "more_sets"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "mine.py").write_text(
        "from im_jax.data.recipes.recipe import Recipe, RemoteFile\n\n"
        "RECIPE = Recipe('mine', 'Mine', 'https://example.org', 'MIT', 'nobody', (RemoteFile('a.jsonl'),), ('a',))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    more: types.ModuleType = importlib.import_module("more_sets")
    assert registry.names(more) == ["mine"]
    assert registry.find("mine", more).title == "Mine"
    assert "mine" not in registry.names()
    del sys.modules["more_sets"]


def test_an_unknown_recipe_is_refused_with_similar_ones() -> None:
    with pytest.raises(ConfigError, match=r"there is no recipe 'limma'; did you mean lima or "):
        registry.find("limma")
    with pytest.raises(ConfigError, match=r"no recipe 'qqq'; choose one of .*alpagasus_dolly_3k"):
        registry.find("qqq")


def test_a_recipe_is_told_with_its_licence() -> None:
    text = text_of(registry.find("lima"))
    assert "licence: CC BY-NC-SA" in text
    assert "gated: accept its licence" in text
    assert "output 442.75 words, instruction 41.72, ratio 0.0942" in text
    assert "x10, of licence unknown" in text_of(registry.find("tulu_v2_parts"))
    assert described(registry.find("wizardlm"))["records"] is None


def test_all_are_listed_with_their_licences() -> None:
    lines = catalogue_text().splitlines()
    assert [line.split()[0] for line in lines] == registry.names()
    assert all(recipe.licence in line for recipe, line in zip(EVERY, lines, strict=True))
    assert [known["licence"] for known in catalogue()] == [recipe.licence for recipe in EVERY]


def test_the_documents_list_the_recipes_that_there_are() -> None:
    page = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert table() in page, "write what im_jax.data.recipes.describe.table() gives into docs/recipes.md"
