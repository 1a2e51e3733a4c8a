"""Recipes as TFDS data sets in ArrayRecord files: fetched from where they are published, or of files at hand.

    RecipeSet(recipe="dolly_15k", data_dir="tfds").download_and_prepare()
    RecipeSet(recipe="lima", path="files", data_dir="tfds").download_and_prepare()

Importing this registers the builder as `recipe_set`, with each recipe as a configuration.
"""

import fnmatch
import hashlib
import json
import pathlib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import tensorflow_datasets as tfds

from im_jax.data.builders.dataset import conversation_features, example_of
from im_jax.data.entries import as_asked
from im_jax.data.files import File, LeftOutRecord, located
from im_jax.data.recipes import registry
from im_jax.data.recipes.places import how_to_fetch, paths_of
from im_jax.data.recipes.reading import recipe_chunks
from im_jax.data.recipes.recipe import Recipe, RemoteFile
from im_jax.data.records import DEFAULT_TURNS, conversation_of
from im_jax.errors import ConfigError, DataError

_HUB: Final = "https://huggingface.co"
_BLOCK: Final = 1 << 20


class RecipeSet(tfds.core.GeneratorBasedBuilder):
    """The conversations of a recipe, all of them: amounts are drawn when it is read."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=recipe.name, description=f"{recipe.title}; licence: {recipe.licence}")
        for recipe in registry.every()
        if not recipe.parts
    ]

    def __init__(self, *, recipe: str = "", path: str = "", wrapping: str = "wrapped", **kwargs: Any):
        """Args: a name, the files (empty: they are fetched), and how user text is written."""
        config = kwargs.pop("config", None) or recipe
        name = config if isinstance(config, str) else config.name
        if registry.find(name).parts:
            raise ConfigError(f"the recipe {name} is composed of others; prepare each of its parts")
        self._recipe, self._path = as_asked(registry.find(name), wrapping), path
        super().__init__(file_format="array_record", config=name, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self._recipe.title}. Licence: {self._recipe.licence}. {self._recipe.notes}",
            homepage=self._recipe.page,
            citation=self._recipe.citation,
            license=self._recipe.licence,
            features=conversation_features(),
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        recipe = self._recipe
        if self._path:
            files = located(paths_of(recipe, self._path, "path"), "path")
        else:
            files = [File(str(path)) for path in fetched(recipe, dl_manager)]
        return {"train": self._generate_examples(files)}

    def _generate_examples(self, files: list[File]) -> Iterator[tuple[int, dict[str, Any]]]:
        number, turns = 0, self._recipe.turns_for(DEFAULT_TURNS)
        for chunk in recipe_chunks(self._recipe, files, "path"):
            for record in chunk.records():
                if not isinstance(record, LeftOutRecord):
                    yield number, example_of(conversation_of(record, turns=turns))
                    number += 1


def fetched(recipe: Recipe, downloads: tfds.download.DownloadManager) -> list[pathlib.Path]:
    """The files of a recipe, downloaded.

    Raises:
        DataError: they cannot be fetched, or are not the ones that are known; with how to get them by hand.
    """
    paths: list[pathlib.Path] = []
    try:
        for file in recipe.files:
            _look_up(file.url or _HUB)
            if file.url.endswith(".zip"):
                folder = downloads.download_and_extract(file.url)
                paths += [pathlib.Path(path) for path in paths_of(recipe, str(folder)).split(",")]
            else:
                found = [pathlib.Path(downloads.download(url)) for url in _addresses(recipe, file, downloads)]
                paths += [_checked(path, file, recipe) for path in found]
    except (OSError, ValueError, tfds.download.DownloadError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise DataError(
            f"the recipe {recipe.name} cannot be fetched ({reason}). {how_to_fetch(recipe)}, here path=FILES"
        ) from error
    return list(dict.fromkeys(paths))


def _look_up(address: str) -> None:
    """Raise `OSError` at once where there is no network: the download manager would try for minutes."""
    if not urllib.request.getproxies():
        socket.getaddrinfo(urllib.parse.urlsplit(address).hostname, 443)


def _addresses(recipe: Recipe, file: RemoteFile, downloads: tfds.download.DownloadManager) -> list[str]:
    """Where a file is, or the files that a pattern names on the hub."""
    if file.url:
        return [file.url]
    folder = file.name.rpartition("/")[0]
    listing = downloads.download(f"{_HUB}/api/datasets/{recipe.hub}/tree/main/{folder}")
    names = [entry["path"] for entry in json.loads(pathlib.Path(listing).read_text(encoding="utf-8"))]
    found = sorted(name for name in names if fnmatch.fnmatchcase(name, file.name))
    if not found:
        raise ValueError(f"{recipe.hub} has no {file.name}")
    return [f"{_HUB}/datasets/{recipe.hub}/resolve/main/{urllib.parse.quote(name)}" for name in found]


def _checked(path: pathlib.Path, file: RemoteFile, recipe: Recipe) -> pathlib.Path:
    if file.sha256:
        digest = hashlib.sha256()
        with path.open("rb") as content:
            while block := content.read(_BLOCK):
                digest.update(block)
        if digest.hexdigest() != file.sha256:
            raise ValueError(
                f"{file.name} of {recipe.name} is another file than the known one: its sha256 differs"
            )
    return path
