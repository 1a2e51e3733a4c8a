"""Which tasks have local data, in which files, and what their definitions say otherwise then."""

import pathlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from im_jax.evaluation.harness.local import (
    bbh,
    boolq,
    gsm8k,
    ifeval,
    mmlu,
    options,
    piqa,
    truthfulqa,
    winogrande,
    wsc,
)
from im_jax.evaluation.harness.local.files import Splits, present

Load = Callable[[pathlib.Path, str], Splits]
"""Given the folder of local data and a task's name; raises `DataError`."""


class LocalTask(NamedTuple):
    """A task on local data."""

    files: tuple[str, ...]
    """Below the folder of local data; each may also be there as `.gz`."""
    load: Load
    changes: Mapping[str, Any] = MappingProxyType({})
    """Fields of the task's definition that speak of data which the files do not have."""

    def missing(self, folder: pathlib.Path) -> list[str]:
        """Files that are not there."""
        return [name for name in self.files if present(folder, name) is None]


_NO_TRAINING: Final = MappingProxyType({"training_split": None})
"""Examples in prompts are then drawn from what is tested; the tested one is left out of them."""
_NO_VALIDATION: Final = MappingProxyType({"validation_split": None})


def _trained_and_tested(place: str, load: Load) -> LocalTask:
    return LocalTask((f"{place}/train.json", f"{place}/test.json"), load, _NO_VALIDATION)


_TASKS: Final = MappingProxyType(
    {
        "arc_easy": _trained_and_tested("commonsense/ARC-Easy", options.arc),
        "arc_challenge": _trained_and_tested("commonsense/ARC-Challenge", options.arc),
        "openbookqa": _trained_and_tested("commonsense/openbookqa", options.openbookqa),
        "winogrande": LocalTask(winogrande.FILES, winogrande.load, _NO_TRAINING),
        "piqa": LocalTask(piqa.FILES, piqa.load, _NO_TRAINING),
        "boolq_closed": LocalTask(boolq.FILES, boolq.load),
        "wsc273": LocalTask(wsc.FILES, wsc.load),
        "gsm8k": LocalTask(gsm8k.FILES, gsm8k.load),
        "gsm8k_cot": LocalTask(gsm8k.FILES, gsm8k.load),
        "ifeval": LocalTask(ifeval.FILES, ifeval.load),
        "truthfulqa_mc1": LocalTask(truthfulqa.FILES, truthfulqa.load),
        "truthfulqa_mc2": LocalTask(truthfulqa.FILES, truthfulqa.load),
    }
)


def local_task(name: str) -> LocalTask | None:
    """What there is for a task; None if there is no such thing."""
    if name.startswith(bbh.PREFIX):
        return LocalTask(bbh.names(name), bbh.load)
    if name.startswith(mmlu.PREFIX):
        return LocalTask(mmlu.names(name), mmlu.load)
    return _TASKS.get(name)
