"""What each item of a task gave, as `FOLDER/items/TASK.jsonl`, so that runs are compared item by item.

    {"doc_id": 0, "prompt_hash": "4f1c...", "cluster": "wsc273/0", "metrics": {"acc,none": 1.0}}

A metric is the mean of its numbers, or a ratio of sums, such as an error rate over a corpus, whose parts are
in `ratios`: `{"ter,none": [edits, words]}`.
"""

import json
import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from im_jax.errors import DataError
from im_jax.files import write_whole

FOLDER: Final = "items"


@dataclass(frozen=True)
class Item:
    """One item of a task."""

    doc_id: int
    """Its number in the task's data."""
    prompt_hash: str
    """Of what the model was given: items may be compared only where it is the same."""
    cluster: str
    """Items of one cluster, such as questions on one story, are not independent. Unique over all tasks."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """By `METRIC,FILTER`."""
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Numerator and denominator, by `METRIC,FILTER`."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else is written for a reader: hashes, responses."""

    def part(self, metric: str) -> tuple[float, float] | None:
        """Numerator and denominator of a metric; None if the item has none."""
        if metric in self.metrics:
            return self.metrics[metric], 1.0
        return self.ratios.get(metric)

    def as_dict(self) -> dict[str, Any]:
        """As written."""
        own = {"doc_id": self.doc_id, "prompt_hash": self.prompt_hash, "cluster": self.cluster}
        parts: dict[str, Any] = {"metrics": dict(self.metrics)}
        if self.ratios:
            parts["ratios"] = {name: list(ratio) for name, ratio in self.ratios.items()}
        return own | parts | dict(self.more)


def write_items(folder: pathlib.Path, task: str, items: Iterable[Item]) -> None:
    """Write the items of a task. Raises `StorageError` where they cannot be."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(item.as_dict(), ensure_ascii=False) + "\n" for item in items]
    write_whole(place / f"{task}.jsonl", "".join(lines))


def read_items(folder: pathlib.Path, task: str) -> list[Item]:
    """The items of a task, in the order of their numbers.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / FOLDER / f"{task}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; evaluate {task} again") from None
    items = [_item(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line]
    return sorted(items, key=lambda item: item.doc_id)


def _item(line: str, where: str) -> Item:
    try:
        record = json.loads(line)
        ratios = {name: (float(a), float(b)) for name, (a, b) in record.get("ratios", {}).items()}
        metrics = {name: float(value) for name, value in record["metrics"].items()}
        return Item(int(record["doc_id"]), record["prompt_hash"], record["cluster"], metrics, ratios)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where} is no item of a task ({error!r}); evaluate again") from None
