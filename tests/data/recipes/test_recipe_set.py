"""Recipes as TFDS data sets: from files at hand, and from where they are published, which is played here."""

import json
import pathlib
from typing import Any

import pytest
import tensorflow_datasets as tfds

from im_jax.config import Config, DataConfig, EvalConfig, TurnsConfig
from im_jax.data.builders.recipe_set import RecipeSet, fetched
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.recipes import registry
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.losses.policy import policy_weights
from tests.data.recipes.test_reading import ALPACA, DOLLY, write


def prepared(**data: Any) -> Prepared:
    config = Config(data=DataConfig(**data), eval=EvalConfig(num_examples=0))
    return prepare(config, make_tokenizer("bytes"), policy_weights("it"))


def test_a_prepared_recipe_is_its_files(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "files" / "databricks-dolly-15k.jsonl", DOLLY)
    builder = RecipeSet(recipe="dolly_15k", path=str(tmp_path / "files"), data_dir=str(tmp_path / "tfds"))
    builder.download_and_prepare()
    assert builder.info.splits["train"].num_examples == len(DOLLY)
    assert "CC BY-SA 3.0" in builder.info.description
    stored = prepared(source="tfds", name="recipe_set/dolly_15k", path=str(tmp_path / "tfds"))
    files = prepared(source="jsonl", recipe="dolly_15k", path=str(tmp_path / "files"))
    assert stored.train.fingerprint() == files.train.fingerprint()


def test_a_prepared_recipe_keeps_the_empty_answers_that_are_of_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "claude_t45.json").write_text(json.dumps(ALPACA))
    recipe, data_dir = "alpagasus_alpaca_5k", str(tmp_path / "tfds")
    RecipeSet(recipe=recipe, path=str(tmp_path / "files"), data_dir=data_dir).download_and_prepare()
    turns = TurnsConfig(empty="keep")
    stored = prepared(source="tfds", name=f"recipe_set/{recipe}", path=data_dir, turns=turns)
    files = prepared(source="jsonl", recipe=recipe, path=str(tmp_path / "files"))
    assert stored.train.fingerprint() == files.train.fingerprint() and len(stored.train) == len(ALPACA)
    assert stored.report.turn_choices == files.report.turn_choices


class Played(tfds.download.DownloadManager):
    """Gives files for addresses, as a download manager does."""

    def __init__(self, files: dict[str, pathlib.Path]) -> None:
        self._files = files

    def download(self, url: Any, *_: Any) -> Any:
        if url not in self._files:
            raise ConnectionError(f"no route to {url}")
        return self._files[url]

    download_and_extract = download


@pytest.fixture(autouse=True)
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were a network; nothing is asked of it."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [])


def test_files_of_a_pattern_are_listed_by_the_hub_and_fetched(tmp_path: pathlib.Path) -> None:
    hub = "https://huggingface.co"
    names = ["data/test-00000-of-00001.parquet", "data/train-00001-of-00002.parquet"]
    names.insert(1, "data/train-00000-of-00002.parquet")
    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps([{"type": "file", "path": name} for name in names]), encoding="utf-8")
    name = "HuggingFaceH4/no_robots"
    files = {f"{hub}/api/datasets/{name}/tree/main/data": listing}
    files |= {f"{hub}/datasets/{name}/resolve/main/{n}": tmp_path / pathlib.Path(n).name for n in names}
    found: Any = fetched(registry.find("no_robots"), Played(files))
    assert [path.name for path in found] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]


def test_what_cannot_be_fetched_says_how_to_get_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"recipe smoltalk cannot be fetched \(no route .* here path=FILES"):
        fetched(registry.find("smoltalk"), Played({}))
    recipe = registry.find("alpagasus_dolly_3k")
    other = pathlib.Path(write(tmp_path / "other.json", DOLLY))
    with pytest.raises(DataError, match=r"is another file than the known one: its sha256 differs"):
        fetched(recipe, Played({recipe.files[0].url: other}))
    monkeypatch.setattr("socket.getaddrinfo", Played({}).download)
    with pytest.raises(DataError, match=r"recipe code_alpaca cannot be fetched \(no route to raw\.github"):
        RecipeSet(recipe="code_alpaca", data_dir=str(tmp_path)).download_and_prepare()
    with pytest.raises(ConfigError, match=r"tulu_v2_parts is composed of others"):
        RecipeSet(recipe="tulu_v2_parts", data_dir=str(tmp_path))


def test_every_recipe_with_files_is_a_configuration() -> None:
    assert {config.name for config in RecipeSet.BUILDER_CONFIGS} == set(registry.names()) - {"tulu_v2_parts"}
    assert issubclass(RecipeSet, tfds.core.GeneratorBasedBuilder)
