"""Tasks run on a model: the harness in the first process, the model on all, scores and items out of it."""

import importlib.metadata
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from rich.table import Table

from im_jax.activity import Activity, silent
from im_jax.evaluation.harness import human_eval, library
from im_jax.evaluation.harness.answer_bits import answer_bits
from im_jax.evaluation.harness.definitions import Definitions
from im_jax.evaluation.harness.lm import Asked, add_bos, make_lm
from im_jax.evaluation.harness.loading import Loaded, Wanted, check_room
from im_jax.evaluation.harness.paper import HUMAN_EVAL
from im_jax.evaluation.harness.scoring import items_of, scores_of, with_answer_bits
from im_jax.evaluation.harness.serving import Answer, Service
from im_jax.evaluation.harness.summary import summarised
from im_jax.evaluation.harness.tables import paper_table, scores_table
from im_jax.evaluation.items import Item, write_items
from im_jax.evaluation.likelihood.texts import Pair
from im_jax.evaluation.results import Score, write_results
from im_jax.models.loaded import Model

SCORE, GENERATE = "score", "generate"
"""What the model is asked for: see `Answers`."""
LOG = "lm_eval.log"

Answers = Mapping[str, Answer]
"""`score`: pairs of token lists to pairs of log-probability and greedy or not. `generate`: `Asked` as lists
to texts. Called on all processes together."""


@dataclass(frozen=True)
class Found:
    """What came out."""

    scores: list[Score]
    items: dict[str, list[Item]]
    """By task."""
    about: dict[str, Any]
    """Versions, shots, settings, what is missing, and the paper's list with its means."""

    def tables(self) -> list[Table]:
        """What a reader is shown."""
        shots = {task: about["num_fewshot"] for task, about in self.about["tasks"].items()}
        rates = {(s.name, s.metric) for s in self.scores if self._is_rate(s)}
        tables = [scores_table(self.scores, rates, shots)]
        return tables if self.about["im_paper"] is None else [*tables, paper_table(self.about["im_paper"])]

    def _is_rate(self, score: Score) -> bool:
        """Whether it is the share of right ones of independent items."""
        if len(score.parts) > 1:
            return False
        (part,) = score.parts
        items = self.items[part.task]
        apart = len({item.cluster for item in items}) == len(items)
        return part.weight == 1 and apart and all(item.metrics.get(part.metric) in (0, 1) for item in items)

    def write(self, folder: pathlib.Path) -> None:
        """Write results and items. Raises `StorageError`."""
        for task, items in self.items.items():
            write_items(folder, task, items)
        write_results(folder, self.scores, self.about)


def run(model: Model, loaded: Loaded, answers: Answers, doing: Activity = silent) -> Found | None:
    """Run tasks on a model; on all processes.

    Args:
        model: is asked.
        loaded: tasks, and how it is asked.
        answers: what computes.
        doing: shows what takes long.

    Returns:
        What came out; None on all processes but the first.

    Raises:
        UserError: tasks cannot be run; before anything is computed where that can be known.
    """
    check_room(loaded, model.config.max_positions)
    bos = add_bos(model, loaded.wanted.add_bos, chat=loaded.wanted.apply_chat_template)
    service = Service(answers)
    if jax.process_index() > 0:
        service.serve()
        return None
    try:
        return _run(model, loaded, service, bos, doing)
    finally:
        service.end()


def _run(model: Model, loaded: Loaded, service: Service, bos: bool, doing: Activity) -> Found:
    wanted, definitions = loaded.wanted, loaded.definitions

    def generate(asked: Sequence[Asked]) -> Sequence[str]:
        return service.ask(GENERATE, asked)

    def score(pairs: Sequence[Pair]) -> Sequence[tuple[float, bool]]:
        return service.ask(SCORE, pairs)

    lm = make_lm(model, score, generate, bos=bos)
    with doing(f"asking {len(loaded.tasks)} tasks"):
        results = _evaluated(lm, loaded)
    items = {
        task: with_answer_bits(items_of(task, samples), answer_bits(loaded.tasks[task], samples))
        for task, samples in results["samples"].items()
    }
    leaves = {
        task: scores_of(task, results["results"][task], results["higher_is_better"][task], items[task])
        for task in items
    }
    if loaded.problems:
        with doing("asking and running HumanEval"):
            items[HUMAN_EVAL] = human_eval.evaluate(loaded.problems, lm, generate)
        leaves[HUMAN_EVAL] = human_eval.scores_of(items[HUMAN_EVAL])
    scores, paper_list = summarised(wanted, definitions, leaves, items)
    about = {
        "settings": _settings(wanted, bos),
        "versions": {name: importlib.metadata.version(name) for name in ("im_jax", "lm_eval", "jax")},
        "tasks": {task: _about(task, results, definitions) for task in loaded.tasks},
        "notes": definitions.notes,
        "contexts_cut": lm.cut,
        "missing": loaded.missing,
        "im_paper": paper_list,
    }
    return Found(scores, items, about)


def _evaluated(lm: Any, loaded: Loaded) -> Any:
    if not loaded.tasks:
        return {"samples": {}, "results": {}}
    return library.module("evaluator").evaluate(
        lm=lm,
        task_dict={"tasks": loaded.tasks, "groups": {}},
        limit=loaded.wanted.limit,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=loaded.wanted.apply_chat_template,
        fewshot_as_multiturn=loaded.wanted.apply_chat_template,
    )


def _settings(wanted: Wanted, bos: bool) -> dict[str, Any]:
    settings = {name: getattr(wanted, name) for name in ("num_fewshot", "limit", "max_new_tokens")}
    return settings | {
        "tasks": list(wanted.tasks),
        "local_data": None if wanted.local_data is None else str(wanted.local_data),
        "apply_chat_template": wanted.apply_chat_template,
        "bos": bos,
    }


def _about(task: str, results: Any, definitions: Definitions) -> dict[str, Any]:
    return {
        "version": str(results["versions"][task]),
        "num_fewshot": results["n-shot"][task],
        "items": results["n-samples"][task]["effective"],
        "of_items": results["n-samples"][task]["original"],
        "data": "local" if definitions.local(task) else results["configs"][task]["dataset_path"],
    }
