"""Published numbers recompute: answers that others have graded, through the harness's filters and metrics."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from im_jax.evaluation.harness import library
from im_jax.evaluation.harness.definitions import Definitions

pytest.importorskip("lm_eval", reason="needs the extra `eval`")


def graded(task: Any, texts: Sequence[str], docs: Sequence[dict[str, str]]) -> dict[str, list[float]]:
    """Exact match of each text, by filter, cut at the task's stops as generation would be."""
    cut = library.module("models.utils").postprocess_generated_text
    stops = list(task.get_config("generation_kwargs")["until"])
    found = {}
    for chain in task._filters:
        answers: Any = [[cut(text, stops, None)] for text in texts]
        for step in chain.filters:
            answers = step().apply(answers, docs)
        values = zip(docs, answers, strict=True)
        found[chain.name] = [task.process_results(doc, [answer])["exact_match"] for doc, answer in values]
    return found


def load(folder: Path, scratch: Path, name: str) -> Any:
    with library.logged_to(None):
        return Definitions(folder, scratch).load(name)


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        ("boolean_expressions", 92.8),
        ("date_understanding", 87.2),
        ("object_counting", 93.2),
        ("word_sorting", 40.4),
    ],
)
def test_bbh_accuracies_of_codex_are_those_that_were_published(
    shared_data: Path, tmp_path: Path, name: str, accuracy: float
) -> None:
    file = f"bbh/code-davinci-002-cot/{name}_few_shot_template_0-255000.json.gz"
    outputs = json.loads(gzip.decompress((shared_data / file).read_bytes()))["outputs"]
    task = load(shared_data, tmp_path, f"bbh_cot_fewshot_{name}")
    values = graded(task, [each["prediction"] for each in outputs], outputs)["get-answer"]
    assert len(values) == 250
    assert 100 * sum(values) / 250 == pytest.approx(accuracy)


def test_gsm8k_solutions_are_graded_as_their_authors_did(shared_data: Path, tmp_path: Path) -> None:
    lines = gzip.decompress(
        (shared_data / "gsm8k/example_model_solutions.jsonl.gz").read_bytes()
    ).splitlines()
    records = [json.loads(line) for line in lines]
    task = load(shared_data, tmp_path, "gsm8k")
    docs = [{"answer": f"#### {record['ground_truth'].rpartition('A: ')[2]}"} for record in records]
    rates = {
        "6b_finetuning": 0.21683,
        "6b_verification": 0.39045,
        "175b_finetuning": 0.34723,
        "175b_verification": 0.56254,
    }
    for name, rate in rates.items():
        values = graded(task, [record[name]["solution"] for record in records], docs)["flexible-extract"]
        assert [bool(value) for value in values] == [record[name]["is_correct"] for record in records]
        assert sum(values) / len(values) == pytest.approx(rate, abs=1e-5)
