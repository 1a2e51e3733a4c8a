"""Definitions of tasks: those of lm-evaluation-harness, with their data from local files where these are.

A local task is a definition that includes the original one, so that prompts, metrics and filters are the
original's, and gets its rows from a function. Known tasks are found in the few folders that define them: to
read all of its 13,000 definitions takes most of a minute.
"""

import importlib
import pathlib
from collections.abc import Mapping
from typing import Any, Final

import yaml

from im_jax.config.checks import did_you_mean
from im_jax.errors import ConfigError
from im_jax.evaluation.harness import library
from im_jax.evaluation.harness.local import registry
from im_jax.evaluation.harness.local.registry import LocalTask
from im_jax.evaluation.instructions_followed import sentences
from im_jax.stores import readable

_FOLDERS: Final = (
    *("mmlu/default", "piqa", "openbookqa", "hellaswag", "lambada", "lambada_multilingual", "translation"),
    *("wsc273", "winogrande", "arc", "coqa", "gsm8k", "bbh/cot_fewshot", "truthfulqa", "toxigen"),
    *("hendrycks_ethics", "super_glue/boolq", "ifeval"),
)
_ROWS: Final = "im_jax.evaluation.harness.definitions.local_rows"

_OURS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "boolq_closed": (
        "boolq",
        {
            "doc_to_text": "Question: {{question}}?\nAnswer:",
            "doc_to_decontamination_query": "question",
            "training_split": None,
            "tag": None,
        },
    )
}
"""Tasks of our own by name: the task that each is like, and in what it differs."""


class _Function(str):
    """A function, by its name, in a definition."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


class Definitions:
    """The tasks, groups and tags that there are by name."""

    def __init__(self, local_data: pathlib.Path | None, scratch: pathlib.Path) -> None:
        """Args: a folder of local data sets, if there is one, and one for definitions that are written here.

        Raises:
            ConfigError: lm-evaluation-harness is not installed.
        """
        self._local_data, self._scratch = local_data, scratch
        self._tasks = library.tasks_folder()
        self._whole = False
        self.notes: dict[str, str] = {}
        """What a reader should know of a task's figures."""
        self._manager = self._manage([self._tasks / folder for folder in _FOLDERS])

    def leaves(self, name: str) -> list[str]:
        """The tasks that a name stands for: itself, or those of a group or a tag, in order.

        Raises:
            ConfigError: there is no such name.
        """
        if name in _OURS:
            return [name]
        entry = self._entry(name)
        match entry.kind.name:
            case "TAG":
                return [leaf for each in sorted(entry.tags) for leaf in self.leaves(each)]
            case "GROUP":
                members = [
                    e if isinstance(e, str) else e.get("group") or e["task"] for e in entry.cfg["task"]
                ]
                return [leaf for each in members for leaf in self.leaves(each)]
        return [name]

    def group(self, name: str) -> Mapping[str, Any] | None:
        """Definition of a group, empty for a tag; None if the name is that of a task."""
        if name in _OURS or self._entry(name).kind.name not in ("GROUP", "TAG"):
            return None
        return self._entry(name).cfg or {}

    def local(self, task: str) -> LocalTask | None:
        """The task's local data, if all of its files are there."""
        found = None if self._local_data is None else registry.local_task(task)
        if found is None or self._local_data is None or found.missing(self._local_data):
            return None
        return found

    def load(self, task: str) -> Any:
        """The task, an `lm_eval.api.task.Task`, with its data.

        Raises:
            DataError: local data cannot be used.
            ConfigError: the task is one of ours and has no local data.
            Exception: whatever `datasets` raises where it finds no data.
        """
        if task == "ifeval":
            # Its rules would download a model when they are imported.
            self.notes["ifeval"] = f"sentences are told apart by {sentences.prepare()}"
        local = self.local(task)
        if local is None:
            if task in _OURS:
                raise ConfigError(f"--tasks={task} is for local files; set --local_data=DIR")
            return self._manager.load([task])["tasks"][task]
        path = self._scratch / f"{task}.yaml"
        path.write_text(self._definition(task, local), encoding="utf-8")
        return self._manager.load([str(path)])["tasks"][task]

    def _definition(self, task: str, local: LocalTask) -> str:
        like, differences = _OURS.get(task, (task, {}))
        definition = {
            "include": str(self._entry(like).yaml_path),
            "task": task,
            "dataset_path": str(self._local_data),
            "custom_dataset": _Function(_ROWS),
            "dataset_kwargs": {"local_data": str(self._local_data), "local_task": task},
            **differences,
            **local.changes,
        }
        return yaml.dump(definition, Dumper=_Dumper, sort_keys=False)

    def _entry(self, name: str) -> Any:
        if name not in self._manager.task_index and not self._whole:
            self._whole, self._manager = True, self._manage([self._tasks])
        if name not in self._manager.task_index:
            near = did_you_mean(name, [*self._manager.all_tasks, *_OURS])
            raise ConfigError(f"--tasks={name}: there is no such task{near}")
        return self._manager.task_index[name]

    def _manage(self, folders: list[pathlib.Path]) -> Any:
        manager = library.module("tasks").TaskManager
        return manager(include_defaults=False, include_path=[str(folder) for folder in folders])


def _member(member: Any) -> str:
    """Name of a member of a group, which may be told with changes."""
    return member if isinstance(member, str) else member.get("group") or member["task"]


def local_rows(*, local_data: str, local_task: str, **_: Any) -> Mapping[str, Any]:
    """Data of a task as `datasets` has it, by split; lm-evaluation-harness calls it by the definition."""
    task = registry.local_task(local_task)
    assert task is not None
    splits = task.load(readable(local_data), local_task)
    datasets = importlib.import_module("datasets")
    return {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
