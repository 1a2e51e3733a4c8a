"""What a benchmark says of a model, whichever it is: figures, notes, and items that can be compared."""

import hashlib
import json
import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.table import Table

from im_jax.evaluation.items import Item, write_items
from im_jax.evaluation.results import Part, Score, write_results


class Figure(NamedTuple):
    """A number that is told."""

    name: str
    value: float
    standard_error: float | None
    """Over items; None or `nan`: it has none."""
    number: int
    """How many items it is of."""
    metric: str = ""
    """Of the items; empty: it is no mean of these."""

    @property
    def error(self) -> float | None:
        """The standard error, or None."""
        known = self.standard_error is not None and not math.isnan(self.standard_error)
        return self.standard_error if known else None


@dataclass(frozen=True)
class Scored:
    """Of one model.

    Attributes:
        benchmark: name.
        model: name, as the files have it.
        about: what else a reader should know, such as the judge; all of it decides the figures.
        figures: in the order of telling.
        notes: what is missing, or to be read with care, a line each.
        items: what each gave, for `evaluate compare`.
    """

    benchmark: str
    model: str
    about: dict[str, str]
    figures: Sequence[Figure]
    notes: Sequence[str]
    items: Sequence[Item]

    @property
    def title(self) -> str:
        """A line above the table."""
        about = ", ".join(f"{name} {value}" for name, value in self.about.items())
        return f"{self.benchmark} of {self.model}" + (f" ({about})" if about else "")

    def as_table(self) -> Table:
        """For people."""
        table = Table()
        table.add_column("figure")
        for name in ("value", "standard error", "of"):
            table.add_column(name, justify="right")
        for each in self.figures:
            shown = "" if each.error is None else f"{each.error:.3f}"
            table.add_row(each.name, f"{each.value:.3f}", shown, f"{each.number:,}")
        return table

    def as_record(self) -> dict[str, Any]:
        """For programs: figures unrounded."""
        figures = {
            each.name: {"value": each.value, "standard_error": each.error, "count": each.number}
            for each in self.figures
        }
        return {
            "benchmark": self.benchmark,
            "model": self.model,
            "about": self.about,
            "figures": figures,
            "notes": list(self.notes),
        }

    def write(self, folder: pathlib.Path) -> None:
        """Write figures and items as `evaluate compare` reads them. Raises `StorageError`."""
        scores = [
            Score(
                self.benchmark,
                each.metric,
                each.value,
                each.error,
                each.number,
                (Part(self.benchmark, each.metric, 1.0),),
            )
            for each in self.figures
            if each.metric
        ]
        folder.mkdir(parents=True, exist_ok=True)
        write_items(folder, self.benchmark, self.items)
        write_results(folder, scores, {"model": self.model, **self.about})


def prompt_hash(*parts: object) -> str:
    """Of what decides an item's prompt and how it is judged."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def item_number(text: str) -> int:
    """A number of an item that has none, the same in any file; 48 bits."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
