"""What is studied with the trainer. A study brings a source of examples, and what is measured on them.

A new study is a room of its own with a `Study` in it, a line in `_STUDIES`, and its fields in `config.data`,
as the group of the source's name. Nothing above or below knows a study by its name.
"""

import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config
from im_jax.data import prepare as files
from im_jax.data.prepare import Prepared
from im_jax.data.store.sets import Keep
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError

if TYPE_CHECKING:  # evaluations need JAX, which looking at data does not
    from im_jax.evaluation.protocol import Evaluation

_STUDIES: Final[Mapping[str, str]] = MappingProxyType({"rewrites": "im_jax.studies.rewrites.study"})
"""Value of `data.source` -> the module whose `STUDY` brings it, imported when it is asked for."""


@runtime_checkable
class Study(Protocol):
    """What a study plugs in."""

    def prepare(
        self,
        config: Config,
        tokenizer: Tokenizer,
        class_weights: jt.Float32[np.ndarray, " C"],
        doing: Activity = silent,
    ) -> Prepared:
        """Its examples, as `im_jax.data.prepare.prepare` gives those of files. Imports no JAX."""
        ...

    def evaluations(self, config: Config) -> Sequence["Evaluation"]:
        """What is measured beside the held-out loss."""
        ...


def prepare(
    config: Config,
    tokenizer: Tokenizer,
    class_weights: jt.Float32[np.ndarray, " C"],
    doing: Activity = silent,
    keep: Keep = Keep.WORTHWHILE,
) -> Prepared:
    """The data that a configuration asks for: a study's own, or what `im_jax.data.prepare` reads.

    Args and raises: as `im_jax.data.prepare.prepare`; what a study makes is never kept.
    """
    _refuse_fields_of_others(config)
    study = _study_of(config)
    if study is None:
        return files.prepare(config, tokenizer, class_weights, doing, keep)
    return study.prepare(config, tokenizer, class_weights, doing)


def evaluations(config: Config) -> Sequence["Evaluation"]:
    """What the study of a run, if it is one's, measures beside the held-out loss."""
    study = _study_of(config)
    return [] if study is None else study.evaluations(config)


def _study_of(config: Config) -> Study | None:
    module = _STUDIES.get(config.data.source)
    return None if module is None else cast(Study, importlib.import_module(module).STUDY)


def _refuse_fields_of_others(config: Config) -> None:
    """Stop at fields of a study that is not asked for, which would be ignored."""
    for source in _STUDIES:
        fields = getattr(config.data, source)
        if config.data.source != source and fields != type(fields)():
            raise ConfigError(
                f"fields of data.{source} are set but data.source is {config.data.source}; set "
                f"--config.data.source={source} to use them"
            )
