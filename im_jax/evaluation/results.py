"""What an evaluation found, kept as `FOLDER/results.json`: scores of tasks, and of groups of them."""

import enum
import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.items import FOLDER
from im_jax.files import write_whole

FILE: Final = "results.json"
FORMAT: Final = 1


class Part(NamedTuple):
    """A metric of a task, and its weight in a score."""

    task: str
    metric: str
    weight: float


class Kind(enum.Enum):
    """What a score is to a reader."""

    TASK = "task"
    """What was asked for: a task, or a group of tasks."""
    PART = "part"
    """A task of a group, or a metric beside the one that counts."""
    MEAN = "mean"
    """A mean over tasks."""


@dataclass(frozen=True)
class Score:
    """A number that is told: a metric of a task, or a weighted sum over several."""

    name: str
    """Of the task or the group."""
    metric: str
    """`METRIC,FILTER`."""
    value: float
    stderr: float | None
    """Over items; None where the metric is none of sums over items."""
    items: int
    parts: tuple[Part, ...]
    higher_is_better: bool = True
    kind: Kind = Kind.TASK

    def as_dict(self) -> dict[str, Any]:
        """As written."""
        return {
            "name": self.name,
            "metric": self.metric,
            "value": self.value,
            "stderr": self.stderr,
            "items": self.items,
            "higher_is_better": self.higher_is_better,
            "kind": self.kind.value,
            "parts": [list(part) for part in self.parts],
        }


def write_results(folder: pathlib.Path, scores: list[Score], about: Mapping[str, Any]) -> None:
    """Write the scores, with what a reader should know about them. Raises `StorageError`."""
    record = {"format": FORMAT, **about, "scores": [score.as_dict() for score in scores]}
    write_whole(folder / FILE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_scores(folder: pathlib.Path) -> list[Score]:
    """The scores in a folder.

    Raises:
        ConfigError: there are none.
        DataError: they cannot be read.
    """
    path = folder / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise DataError(f"{path} is of format {record['format']}, not {FORMAT}; evaluate again")
        return [_score(each) for each in record["scores"]]
    except FileNotFoundError:
        raise ConfigError(f"{folder} has no {FILE}; give the --output of an evaluation") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error!r}); evaluate again") from None


def result_folders(path: pathlib.Path) -> list[pathlib.Path]:
    """The folder itself, if it has results, else those in it that have, sorted by name.

    Raises:
        ConfigError: there are none.
    """
    if (path / FILE).is_file():
        return [path]
    inside = sorted(file.parent for file in path.glob(f"*/{FILE}"))
    if not inside:
        raise ConfigError(f"{path} has no {FILE} and no {FOLDER}; give the --output of an evaluation")
    return inside


def _score(record: Mapping[str, Any]) -> Score:
    parts = tuple(Part(task, metric, float(weight)) for task, metric, weight in record["parts"])
    return Score(
        record["name"],
        record["metric"],
        float(record["value"]),
        record["stderr"],
        int(record["items"]),
        parts,
        bool(record["higher_is_better"]),
        Kind(record["kind"]),
    )
