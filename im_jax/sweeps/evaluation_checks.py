"""Checks of what a sweep asks of its finished runs, before the first of them."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.stores import readable
from im_jax.sweeps.evaluations import Evaluations, Overfitting, Tasks

_TAKEN: Final = ("data", "heldout", "memory", "rewrites", "tasks")
"""What a run's summary.json has."""
_LEAST: Final[Mapping[type, Mapping[str, int]]] = {
    Tasks: {"num_fewshot": 0, "limit": 1, "max_new_tokens": 1},
    Overfitting: {
        **{"limit": 2, "seed": 0, "answers": 0, "max_new_tokens": 1, "ngram": 1, "prefix": 0},
        **{"gradient_examples": 0, "rows_at_a_time": 1, "paragraphs": 1},
    },
}


def check_evaluations(evaluations: Evaluations) -> None:
    """Stop at an evaluation that cannot be made of any run.

    Raises:
        ConfigError: names the evaluation.
    """
    for name, asked in evaluations.items():
        where = f"evaluation {name}"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name) or name in _TAKEN:
            raise ConfigError(f"{where}: choose a name of letters, other than {', '.join(_TAKEN)}")
        if not isinstance(asked, Tasks | Overfitting):
            raise ConfigError(
                f"{where}: {asked!r} is {type(asked).__name__}; it must be Tasks or Overfitting"
            )
        for field, least in _LEAST[type(asked)].items():
            _check_number(where, field, getattr(asked, field), least, isinstance(asked, Tasks))
        if isinstance(asked, Tasks):
            _check_tasks(where, asked)
        elif asked.text and not pathlib.Path(asked.text).is_file():
            raise ConfigError(f"{where}: text={asked.text} is no file")


def check_can_be_evaluated(evaluations: Evaluations, config: Config) -> None:
    """Stop at a run of which an evaluation would have nothing to say.

    Raises:
        ConfigError: names the field.
    """
    held_out = config.eval.num_examples or config.eval.path
    if not held_out and any(isinstance(asked, Overfitting) for asked in evaluations.values()):
        raise ConfigError(
            "eval.num_examples=0: overfitting shows on examples that are held out; set eval.num_examples"
        )


def _check_tasks(where: str, asked: Tasks) -> None:
    names = asked.names
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ConfigError(f"{where}: names={names!r}: give names of tasks, such as ('piqa', 'arc_easy')")
    if asked.local_data and not readable(asked.local_data).is_dir():
        raise ConfigError(f"{where}: local_data={asked.local_data} is no folder of data sets")
    if asked.add_bos not in ("auto", "yes", "no"):
        raise ConfigError(f"{where}: add_bos={asked.add_bos!r} is not one of auto, yes, no")


def _check_number(where: str, field: str, value: Any, least: int, may_lack: bool) -> None:
    if value is None and may_lack:
        return
    if type(value) is not int or value < least:
        raise ConfigError(f"{where}: {field}={value!r}: give a whole number of {least} or more")
