"""Names of tasks become tasks with data; what has none is an error where it was asked for by name."""

import contextlib
import pathlib
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from im_jax.errors import ConfigError, UserError
from im_jax.evaluation.code.human_eval import Problem
from im_jax.evaluation.harness import human_eval, library, paper
from im_jax.evaluation.harness.definitions import Definitions
from im_jax.evaluation.harness.lm import MAX_GEN_TOKS
from im_jax.text import in_one_line

_SEED: Final = 1234
"""Of NumPy, and of the draws of few-shot examples: the harness's own default; of Python it is 0."""
_ONLY_BY_NAME: Final = f"runs programs that the model writes; add {paper.HUMAN_EVAL} to --tasks"


@dataclass(frozen=True)
class Wanted:
    """What is to be evaluated, and how the model is asked."""

    tasks: tuple[str, ...]
    """Tasks, groups and tags of lm-evaluation-harness, `im_paper`, `humaneval`."""
    local_data: pathlib.Path | None = None
    num_fewshot: int | None = None
    """Examples in prompts; None: as the task, or the paper, says. A task that says 0 keeps it."""
    limit: int | None = None
    """Items of each task, the first ones; for tests."""
    apply_chat_template: bool = False
    add_bos: str = "auto"
    max_new_tokens: int | None = None
    """None: as the task says."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError(f"no tasks; set --tasks={paper.NAME}, or --tasks=NAME,NAME")
        if self.local_data is not None and not self.local_data.is_dir():
            raise ConfigError(f"{self.local_data} is no folder of data sets; set --local_data=DIR")

    @property
    def by_name(self) -> list[str]:
        """Names but that of the paper's list."""
        return [name for name in dict.fromkeys(self.tasks) if name != paper.NAME]

    @property
    def is_paper(self) -> bool:
        """Whether the paper's list is asked for."""
        return paper.NAME in self.tasks


@dataclass(frozen=True)
class Loaded:
    """Tasks that are ready to be asked."""

    wanted: Wanted
    definitions: Definitions

    tasks: dict[str, Any]
    """`lm_eval.api.task.Task` by name."""
    problems: list[Problem]
    """Of HumanEval, where it is asked for."""
    missing: dict[str, str]
    """Why an entry of the paper's list cannot be asked, by its name."""


@contextlib.contextmanager
def ready(wanted: Wanted, log: pathlib.Path | None = None) -> Iterator[Loaded]:
    """Find all data, before a model is opened; while the context lasts, the tasks can be asked.

    Args:
        wanted: tasks.
        log: a file for what the harness says meanwhile.

    Raises:
        UserError: a name is unknown, or what was asked for by name has no data, or local data is damaged.
    """
    with library.logged_to(log), tempfile.TemporaryDirectory() as scratch:
        # As the harness's own command sets them, for tasks that draw.
        random.seed(0)
        np.random.seed(_SEED)
        yield _load(wanted, Definitions(wanted.local_data, pathlib.Path(scratch)))


def _load(wanted: Wanted, definitions: Definitions) -> Loaded:
    store = _Store(wanted, definitions)
    problems: list[Problem] = []
    for name in wanted.by_name:
        if name == paper.HUMAN_EVAL:
            problems = list(human_eval.problems_of(wanted.local_data).values())[: wanted.limit]
            continue
        for leaf in definitions.leaves(name):
            if reason := store.why_not(leaf):
                raise ConfigError(f"--tasks={name}: {leaf} has no data here: {reason}")
    missing = {}
    for entry in paper.ENTRIES if wanted.is_paper else ():
        reason = store.entry(entry)
        if reason and not (entry.name == paper.HUMAN_EVAL and problems):
            missing[entry.name] = reason
    return Loaded(wanted, definitions, store.tasks, problems, missing)


def check_room(loaded: Loaded, max_positions: int) -> None:
    """Stop at tasks whose answers would leave no room for a prompt.

    Raises:
        ConfigError: names the task.
    """
    normalised = library.module("models.utils").normalize_gen_kwargs
    for name, task in loaded.tasks.items():
        if task.get_config("output_type") != "generate_until":
            continue
        most = normalised(task.get_config("generation_kwargs"), MAX_GEN_TOKS)["max_gen_toks"]
        if most >= max_positions:
            raise ConfigError(
                f"{name} asks for answers of {most} tokens, and this model has room for {max_positions} "
                f"(model.max_positions); set --max_new_tokens={max_positions // 2}, or leave the task out"
            )


class _Store:
    """Tasks that have been loaded, and why others could not be."""

    def __init__(self, wanted: Wanted, definitions: Definitions) -> None:
        self.tasks: dict[str, Any] = {}
        self._wanted, self._definitions = wanted, definitions
        self._reasons: dict[str, str] = {}
        self._without: set[str] = set()
        """Tasks whose definitions say that they have no examples."""
        self._unreachable = ""

    def entry(self, entry: paper.Entry) -> str:
        """Load an entry of the paper's list with its shots; why it cannot be, or nothing."""
        if entry.name == paper.HUMAN_EVAL:
            return _ONLY_BY_NAME
        leaves = [leaf for task in entry.tasks for leaf in self._definitions.leaves(task)]
        reasons = [(leaf, reason) for leaf in leaves if (reason := self.why_not(leaf))]
        if not reasons:
            for leaf in leaves:
                self._set_shots(leaf, entry.shots)
            return ""
        leaf, reason = reasons[0]
        if len(leaves) == 1:
            return reason
        return f"{len(reasons)} of its {len(leaves)} tasks have no data, such as {leaf}: {reason}"

    def why_not(self, leaf: str) -> str:
        """Load a task; why it cannot be, or nothing."""
        if leaf in self.tasks:
            return ""
        if leaf not in self._reasons:
            self._reasons[leaf] = self._load(leaf)
        return self._reasons[leaf]

    def _load(self, leaf: str) -> str:
        if self._unreachable and self._definitions.local(leaf) is None:
            return self._unreachable
        try:
            task = self._definitions.load(leaf)
        except UserError:
            raise
        except ConnectionError as error:
            self._unreachable = in_one_line(error)  # the next one would wait for the network in vain too
            return self._unreachable
        except Exception as error:  # of a library of libraries: the reason is the user's to see
            return in_one_line(f"{type(error).__name__}: {error}")
        task.set_fewshot_seed(seed=_SEED)
        if self._wanted.max_new_tokens is not None and task.get_config("output_type") == "generate_until":
            most = {"max_gen_toks": self._wanted.max_new_tokens}
            task.set_config(key="generation_kwargs", value=most, update=True)
        self.tasks[leaf] = task
        if task.get_config("num_fewshot") == 0:
            self._without.add(leaf)
        elif task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        self._set_shots(leaf, None)
        return ""

    def _set_shots(self, leaf: str, shots: int | None) -> None:
        """Set examples in prompts as the harness does: a task that says 0 has none.

        Those that are wanted for all tasks come before those of the paper, and these before a task's own.
        """
        task = self.tasks[leaf]
        shots = shots if self._wanted.num_fewshot is None else self._wanted.num_fewshot
        if shots is not None and leaf not in self._without:
            task.set_config(key="num_fewshot", value=shots)
