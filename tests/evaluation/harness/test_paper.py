"""The paper's list: what it holds, means with TER both ways, and what is missing; scores out of samples."""

import math
from typing import Any

import numpy as np
import pytest

from im_jax.evaluation.code.confinement import unavailable
from im_jax.evaluation.code.human_eval import Problem
from im_jax.evaluation.harness import human_eval, paper
from im_jax.evaluation.harness.lm import Asked
from im_jax.evaluation.harness.scoring import by_size, combined, items_of, scores_of
from im_jax.evaluation.harness.tables import interval, paper_table
from im_jax.evaluation.items import Item
from im_jax.evaluation.results import Kind, Part, Score


def scores(**changes: float | None) -> tuple[dict[str, Score], dict[str, list[Item]]]:
    """A score of 0.5 for every entry, or what is given, with two items each."""
    found, items = {}, {}
    for entry in paper.ENTRIES:
        value = changes.get(entry.name.partition(",")[0], 0.5)
        if value is None:
            continue
        found[entry.name] = Score(entry.name, "m", value, 0.1, 2, (Part(entry.name, "m", 1.0),))
        items[entry.name] = [
            Item(n, "", f"{entry.name}/{n}", {"m": value + d}) for n, d in enumerate((-0.1, 0.1))
        ]
    return found, items


def test_the_list_is_the_papers() -> None:
    """WMT14 and WMT16 are one entry, so that 17 are 18 tasks in six categories."""
    assert [len(entries) for entries in paper.CATEGORIES.values()] == [5, 2, 4, 2, 1, 3]
    shots = {entry.name: entry.shots for entry in paper.ENTRIES if entry.shots is not None}
    assert shots == {
        "mmlu": 5, "piqa": 10, "hellaswag": 10, "winogrande": 5, "ai2_arc": 25, "coqa": 0, "gsm8k_cot": 8, "humaneval": 0,
    }  # fmt: skip
    metrics = {entry.name: entry.metric.partition(",")[0] for entry in paper.ENTRIES}
    assert {name for name, metric in metrics.items() if metric == "acc_norm"} == {
        "piqa",
        "openbookqa",
        "hellaswag",
        "ai2_arc",
    }
    assert (metrics["coqa"], metrics["wmt14, wmt16"], metrics["gsm8k_cot"]) == ("f1", "ter", "exact_match")


def test_the_mean_is_over_six_categories_and_ter_is_taken_both_ways() -> None:
    found, told = paper.means(*scores(wmt14=0.9, humaneval=0.1, bbh_cot_fewshot=0.2))
    multilingual, code = (0.5 + 0.9) / 2, (0.5 + 0.1) / 2
    assert told["mean, as the paper"]["value"] == pytest.approx((0.5 * 3 + multilingual + code + 0.2) / 6)
    assert told["mean, with 1 - TER"]["value"] == pytest.approx((0.5 * 3 + (0.5 + 0.1) / 2 + code + 0.2) / 6)
    assert told["missing"] == []
    mean = next(score for score in found if score.name == "im_paper: mean, as the paper")
    assert mean.value == pytest.approx(told["mean, as the paper"]["value"]) and mean.kind is Kind.MEAN
    per_entry = [1 / 6 / len(members) for members in paper.CATEGORIES.values() for _ in members]
    assert mean.stderr == pytest.approx(0.1 * math.sqrt(sum(weight**2 for weight in per_entry)))


def test_what_is_missing_is_missing_from_its_category_and_from_the_mean() -> None:
    found, told = paper.means(*scores(humaneval=None, coqa=None, wmt14=0.9))
    code = told["categories"]["math & code"]
    assert code["value"] is None and code["of_what_is_there"] == 0.5 and code["entries"]["humaneval"] is None
    assert told["mean, as the paper"] == {
        "value": None,
        "of_what_is_there": pytest.approx((0.5 * 5 + 0.7) / 6),
    }
    assert told["missing"] == ["coqa", "humaneval"]
    assert "im_paper: mean, as the paper" not in {score.name for score in found}
    cells = [str(cell) for column in paper_table(told).columns for cell in column.cells]
    assert "missing (50.00)" in cells and "0.00" not in cells
    assert paper.means({}, {})[1]["mean, as the paper"] == {"value": None, "of_what_is_there": None}


def sample(doc_id: int, **metrics: Any) -> dict[str, Any]:
    return {
        "doc_id": doc_id, "doc": {}, "filter": "none", "metrics": list(metrics), "doc_hash": "d", "prompt_hash": "p",
        "target": "t", "resps": [[""]], "filtered_resps": [""], **metrics,
    }  # fmt: skip


def test_ter_is_a_ratio_of_sums_over_items_and_bleu_is_none() -> None:
    sacrebleu = pytest.importorskip("sacrebleu", reason="needs the extra `eval`")
    references = ["the cat sat on the mat", "a dog barked", "it is late and dark outside"]
    answers = ["the cat on the mat sat", "a dog", "outside it is dark"]
    samples = [sample(n, ter=pair, bleu=pair) for n, pair in enumerate(zip(references, answers, strict=True))]
    items = items_of("wmt14-en-fr", samples)
    corpus = sacrebleu.corpus_ter(answers, [references]).score
    results = {"ter,none": corpus, "bleu,none": 12.0, "alias": "x", "ter_stderr,none": "N/A"}
    ter, bleu = scores_of("wmt14-en-fr", results, {"ter": False, "bleu": True}, items)
    edits, words = np.array([item.ratios["ter,none"] for item in items]).T
    assert edits.sum() / words.sum() == pytest.approx(corpus)
    assert ter.stderr is not None and ter.stderr > 0 and not ter.higher_is_better
    assert bleu.stderr is None
    assert [item.cluster for item in items] == [f"wmt14-en-fr/{n}" for n in range(3)]


def test_instructions_of_a_prompt_are_counted_one_by_one() -> None:
    followed = [[True, False], [True], [False, True, True]]
    items = items_of("ifeval", [sample(n, inst_level_strict_acc=each) for n, each in enumerate(followed)])
    (score,) = scores_of("ifeval", {"inst_level_strict_acc,none": 4 / 6}, {}, items)
    assert score.stderr is not None and score.stderr > 0


def test_the_error_of_a_perplexity_is_that_of_its_logarithm_times_itself() -> None:
    logs = [-1.0, -2.0, -4.0]
    items = items_of("lambada_openai", [sample(n, perplexity=value) for n, value in enumerate(logs)])
    value = math.exp(-np.mean(logs))
    (score,) = scores_of("lambada_openai", {"perplexity,none": value}, {"perplexity": False}, items)
    assert score.stderr == pytest.approx(value * np.std(logs, ddof=1) / math.sqrt(3))


def test_translations_of_one_text_are_one_cluster_in_a_score_over_languages() -> None:
    values = [1.0, 0.0, 0.0, 1.0]
    items = {
        f"lambada_openai_mt_{language}": items_of(
            f"lambada_openai_mt_{language}", [sample(n, acc=value) for n, value in enumerate(values)]
        )
        for language in ("de", "en")
    }
    parts = [scores_of(task, {"acc,none": 0.5}, {}, each)[0] for task, each in items.items()]
    both = combined("lambada_multilingual", "acc,none", by_size(parts), items)
    assert both.value == 0.5 and both.stderr == pytest.approx(parts[0].stderr)


def test_an_interval_of_few_is_wilsons_and_stays_in_bounds() -> None:
    score = Score("t", "acc,none", 0.0, 0.0, 10, ())
    few = interval(score, is_rate=True)
    assert (
        few is not None
        and few.low == pytest.approx(0, abs=1e-12)
        and few.high == pytest.approx(0.2775, abs=1e-3)
    )
    assert interval(Score("t", "bleu,none", 3.0, None, 10, ()), is_rate=False) is None


class Encoder:
    """Stands for the adapter: texts are their characters."""

    def tok_encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def test_humaneval_is_drawn_at_two_temperatures_and_the_better_one_counts() -> None:
    if reason := unavailable():
        pytest.skip(reason)
    problem = Problem("t/0", "def f():\n", "def check(f):\n    assert f() == 1\n", "f")
    seen: list[Asked] = []

    def generate(asked: list[Asked]) -> list[str]:
        seen.extend(asked)
        right = [each.sampling["temperature"] == 0.7 and each.number < 5 for each in asked]
        return [f"    return {int(each)}" for each in right]

    (item,) = human_eval.evaluate([problem], Encoder(), generate)
    assert len(seen) == 40 and {each.number for each in seen} == set(range(20))
    assert seen[0].sampling == {"temperature": 0.1, "top_p": 0.95} and seen[0].max_tokens == 512
    assert item.metrics == {"pass@1,temperature=0.1": 0.0, "pass@1,temperature=0.7": 0.25}
    better, *each = human_eval.scores_of([item])
    assert (better.metric, better.value, better.kind) == ("pass@1,none", 0.25, Kind.TASK)
    assert better.parts == (Part("humaneval", "pass@1,temperature=0.7", 1.0),) and len(each) == 2
