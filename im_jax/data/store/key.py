"""What a set of encoded examples was made from, as one number: another number, another set."""

import datetime
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Sequence
from typing import Any, Final

from im_jax.config import TEMPLATES, Config, DataConfig, flatten, records
from im_jax.config.record import Decides
from im_jax.data.store.chunk import CODE
from im_jax.data.store.contents import Contents, contents_of
from im_jax.stores import readable
from im_jax.token_classes import TokenClass

_ASIDE: Final = (
    # What the files themselves stand for, and what is done with examples that are encoded.
    *("source", "path", "name", "split", "template", "seed", "num_generated", "rewrites.", "packing"),
    *("recipe", "mixture", "subset.", "deduplicate"),
    "date",  # counts where the template writes it
)
"""Fields of `data` that decide the result, but not what a record becomes. All others count: a new field that
is forgotten here costs time, and nothing else."""
_WRITES_DATE: Final = b"strftime_now"
_BESIDE: Final = (
    "added_tokens.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
)
"""Files that decide what a tokenizer or a template does, beside the one that is named."""


def key_of(
    data: DataConfig,
    tokenizer_path: str,
    files: Sequence[Contents],
    cache: pathlib.Path | None,
    conversion: str = "",
) -> str | None:
    """The key of the records of some files, in this order, encoded as `data` says.

    Args:
        data: a checked configuration.
        tokenizer_path: `bytes`, or where the tokenizer is.
        files: their names do not count.
        cache: where digests of files are remembered.
        conversion: names what is done with the records before they are read, and its version.

    Returns:
        64 hexadecimal digits; None where a file cannot be read.
    """
    template = data.template if data.template in TEMPLATES else _digests(data.template, cache)
    tokenizer = tokenizer_path if tokenizer_path == "bytes" else _digests(tokenizer_path, cache)
    if template is None or tokenizer is None:
        return None
    made_from = {
        "code": CODE,
        "classes": [token_class.name for token_class in TokenClass],
        "libraries": {name: importlib.metadata.version(name) for name in ("tokenizers", "sentencepiece")},
        "files": [file.digest for file in files],
        "conversion": conversion,
        "template": template,
        "tokenizer": tokenizer,
        "date": _date(data),
        "data": _fields(data),
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _date(data: DataConfig) -> str:
    """The day that a template writes, if it writes one."""
    if data.template in TEMPLATES:
        return ""
    place = readable(data.template)
    folder = place if place.is_dir() else place.parent
    for file in {place, *(folder / name for name in _BESIDE if "template" in name or "config" in name)}:
        if file.is_file() and _WRITES_DATE in file.read_bytes():
            return str(flatten(data).get("date") or datetime.date.today().isoformat())
    return ""


def _fields(data: DataConfig) -> dict[str, Any]:
    found = {}
    for name, value in flatten(Config(data=data)).items():
        group, _, field = name.partition(".")
        aside = any(field == each or (each.endswith(".") and field.startswith(each)) for each in _ASIDE)
        if group == "data" and not aside and records(Config)[name].decides is Decides.RESULT:
            found[field] = value
    return found


def _digests(path: str, cache: pathlib.Path | None) -> dict[str, str] | None:
    """Of each file that a path stands for, by name; None where one cannot be read."""
    place = readable(path)
    folder = place if place.is_dir() else place.parent
    found: dict[str, str] = {}
    for file in [*(folder / name for name in _BESIDE), *([] if place.is_dir() else [place])]:
        if file.is_file():
            contents = contents_of(str(file), cache)
            if contents is None:
                return None
            found[file.name if file.name in _BESIDE else "named"] = contents.digest
    return found
