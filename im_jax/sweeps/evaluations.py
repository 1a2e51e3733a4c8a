"""What a sweep may ask of the model of every finished run: benchmark tasks, and the suite on overfitting."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from im_jax.errors import ConfigError


@dataclass(frozen=True)
class Tasks:
    """Benchmark tasks, as `python -m im_jax.evaluate` asks them. Figures: `piqa/acc`, `piqa/acc_stderr`."""

    names: Sequence[str]
    """Tasks, groups and tags of lm-evaluation-harness, `im_paper`, `humaneval`."""
    local_data: str = ""
    """Folder of local data sets; empty: what --local_data names, or as the harness finds its data."""
    num_fewshot: int | None = None
    limit: int | None = None
    """Items of each task, the first ones."""
    apply_chat_template: bool = False
    add_bos: str = "auto"
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Overfitting:
    """The suite of `python -m im_jax.analyse overfitting`. Figures: `output_gap`, `bleu/train` and others."""

    limit: int = 500
    """Examples of each set, at most."""
    seed: int = 0
    """Of the draw of examples."""
    answers: int = 100
    max_new_tokens: int = 256
    ngram: int = 5
    prefix: int = 8
    gradient_examples: int = 32
    rows_at_a_time: int = 4
    learning_rate: float | None = None
    text: str = ""
    """A file of plain text, for what is forgotten; empty: nothing is said of it."""
    paragraphs: int = 200


Evaluation = Tasks | Overfitting

Evaluations = Mapping[str, Evaluation]
"""By names that the sweep chooses. A measure is `NAME.FIGURE`: `benchmarks.piqa/acc`."""

NO_EVALUATIONS: Final[Evaluations] = MappingProxyType({})

_KINDS: Final[Mapping[str, type[Tasks] | type[Overfitting]]] = {"tasks": Tasks, "overfitting": Overfitting}


def to_request(evaluations: Evaluations) -> dict[str, Any]:
    """For JSON: what differs from the defaults, so that an option that is new asks for nothing new."""
    return {name: _record(evaluation) for name, evaluation in evaluations.items()}


def from_request(request: Mapping[str, Any]) -> dict[str, Evaluation]:
    """Reads `to_request`."""
    return {
        name: _KINDS[record["kind"]](**{k: v for k, v in record.items() if k != "kind"})
        for name, record in request.items()
    }


def hash_of(evaluation: Evaluation) -> str:
    """Eight hexadecimal digits of what is asked."""
    return hashlib.sha256(json.dumps(_record(evaluation), sort_keys=True).encode()).hexdigest()[:8]


def _record(evaluation: Evaluation) -> dict[str, Any]:
    kind = next(name for name, kind in _KINDS.items() if isinstance(evaluation, kind))
    record: dict[str, Any] = {"kind": kind}
    for item in dataclasses.fields(evaluation):
        value = getattr(evaluation, item.name)
        if value != item.default:
            record[item.name] = list(value) if isinstance(value, tuple) else value
    return record


def with_local_data(evaluations: Evaluations, folder: str | None) -> Evaluations:
    """The same with a folder of local data sets where benchmark tasks name none.

    Raises:
        ConfigError: none of them would read it.
    """
    if folder is None:
        return evaluations
    asking = {
        name: dataclasses.replace(each, local_data=folder)
        for name, each in evaluations.items()
        if isinstance(each, Tasks) and not each.local_data
    }
    if not asking:
        raise ConfigError("--local_data has no effect: no evaluation of this sweep asks for it; leave it out")
    return {**evaluations, **asking}
