"""What the card of a data set, README.md with front matter in YAML, says of its files.

configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
"""

import fnmatch
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from im_jax.errors import DataError

_MAX_CARD: Final = 1 << 20
_FRONT_MATTER: Final = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


class Split(NamedTuple):
    """A split and its files."""

    name: str
    """Empty where nothing says which it is."""
    files: list[str]
    """Below the folder, by name."""
    declared: bool = False
    """Whether the card names them."""


def splits_of_card(root: Path, names: list[str]) -> list[Split]:
    """The splits that README.md names; none if it does not say.

    Args:
        root: the folder.
        names: all files below it.

    Raises:
        DataError: it has several configurations and none that is the default, or cannot be understood.
        OSError: it cannot be read.
    """
    config = _default_config(_front_matter(root / "README.md"))
    if config is None:
        return []
    declared = config.get("data_files")
    folder = str(config.get("data_dir") or "").strip("./")
    if isinstance(declared, dict):
        declared = [{"split": split, "path": path} for split, path in declared.items()]
    if isinstance(declared, str) or (
        isinstance(declared, list) and all(isinstance(p, str) for p in declared)
    ):
        declared = [{"split": "train", "path": declared}]
    if not isinstance(declared, list):
        return []
    found = []
    for part in declared:
        if not isinstance(part, dict) or not isinstance(part.get("split"), str):
            raise DataError("README.md has `data_files` without `split` and `path`; name the files you want")
        patterns = part.get("path")
        patterns = [patterns] if isinstance(patterns, str) else patterns or []
        files = [name for name in names if any(_matches(name, str(p), folder) for p in patterns)]
        found.append(Split(part["split"], files, declared=True))
    return found


def _front_matter(card: Path) -> dict[str, Any]:
    import yaml  # here, since few folders have a card

    if not card.is_file():
        return {}
    with card.open(encoding="utf-8", errors="replace") as file:
        matter = _FRONT_MATTER.match(file.read(_MAX_CARD))
    try:
        found = yaml.safe_load(matter[1]) if matter else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"the front matter of README.md is not YAML ({reason}); name the files you want"
        ) from None
    return found if isinstance(found, dict) else {}


def _default_config(card: dict[str, Any]) -> dict[str, Any] | None:
    """The configuration that is meant where none is named; none if there are none."""
    configs = card.get("configs")
    configs = [config for config in configs if isinstance(config, dict)] if isinstance(configs, list) else []
    if len(configs) <= 1:
        return configs[0] if configs else None
    named = {str(config.get("config_name")): config for config in configs}
    default = [config for config in configs if config.get("default") is True]
    if default or "default" in named:
        return default[0] if default else named["default"]
    problem = f"README.md has several configurations ({', '.join(named)}), and none is the default"
    raise DataError(f"{problem}; name the files of one")


def _matches(name: str, pattern: str, folder: str) -> bool:
    """Whether a file is meant, as a hub reads patterns: `*` stays within a folder, `**` does not."""
    pattern = pattern.removeprefix("./")
    pattern = f"{folder}/{pattern}" if folder else pattern
    parts, wanted = name.split("/"), pattern.split("/")
    return _match_parts(parts, wanted)


def _match_parts(parts: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_match_parts(parts[at:], wanted[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _match_parts(parts[1:], wanted[1:])
