"""lm-evaluation-harness through our adapter: what it asks, what it finds, and what its own `hf` model finds."""

import dataclasses
import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from im_jax.errors import ConfigError
from im_jax.evaluation.harness import library, running
from im_jax.evaluation.harness.definitions import Definitions
from im_jax.evaluation.harness.lm import Asked, add_bos, make_lm
from im_jax.evaluation.harness.loading import Wanted, ready
from im_jax.evaluation.harness.running import Found
from im_jax.evaluation.items import read_items
from im_jax.evaluation.results import Kind, read_scores
from im_jax.models.loaded import Model
from im_jax.stores import readable
from tests.evaluation.harness.local_data import write_local_data
from tests.evaluation.harness.made_model import opened, write_model
from tests.evaluation.harness.plain import plain_answers
from tests.stand_in_gcs import stand_in_asked

pytest.importorskip("lm_eval", reason="needs the extra `eval`")

TASKS = (
    *("piqa", "openbookqa", "winogrande", "wsc273", "ai2_arc", "mmlu_anatomy", "truthfulqa_mc1"),
    *("truthfulqa_mc2", "boolq_closed", "gsm8k_cot", "bbh_cot_fewshot_snarks"),
)
LIMIT, NEW_TOKENS = 2, 12


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks for data on the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return opened(folder, chat=True)


@pytest.fixture(scope="module")
def answers(model: Model) -> dict[str, Any]:
    return plain_answers(model)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    data = write_local_data(tmp_path_factory.mktemp("data"))
    return Wanted(TASKS, local_data=data, limit=LIMIT, max_new_tokens=NEW_TOKENS)


def run(model: Model, wanted: Wanted, answers: dict[str, Any]) -> Found:
    with ready(wanted) as loaded:
        found = running.run(model, loaded, answers)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found(model: Model, answers: dict[str, Any], wanted: Wanted) -> Found:
    return run(model, wanted, answers)


def value(found: Found, name: str, metric: str) -> float:
    return next(score.value for score in found.scores if (score.name, score.metric) == (name, metric))


@pytest.mark.parity
def test_its_own_model_finds_the_same_with_the_same_weights(
    found: Found, folder: Path, wanted: Wanted
) -> None:
    for name in ("torch", "transformers", "accelerate"):
        pytest.importorskip(name, reason="needs the extra `parity`")
    peer = library.module("models.huggingface").HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=4
    )
    with ready(wanted) as loaded:
        theirs = library.module("evaluator").evaluate(
            lm=peer, task_dict={"tasks": loaded.tasks, "groups": {}}, limit=LIMIT, bootstrap_iters=0
        )
    assert theirs["samples"].keys() == found.items.keys()
    for task, samples in theirs["samples"].items():
        for sample in samples:
            item = found.items[task][sample["doc_id"]]
            assert item.prompt_hash == sample["prompt_hash"]
            same(item.more["responses"], sample["resps"])
            for metric in sample["metrics"]:
                ours = item.metrics[f"{metric},{sample['filter']}"]
                assert ours == pytest.approx(sample[metric], abs=1e-4), (task, metric)
        for key, number in theirs["results"][task].items():
            if "," in key and "_stderr" not in key:
                assert value(found, task, key) == pytest.approx(number, abs=1e-4)


def same(ours: Any, theirs: Any) -> None:
    """Likelihoods within 1e-3 and whether they are greedy; texts to the letter."""
    if isinstance(theirs, str | bool):
        assert ours == theirs
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-3)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        same(list(ours.values()), list(theirs.values()))
    else:
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)


def test_bits_of_right_answers_are_over_the_bytes_of_their_texts(found: Found) -> None:
    # As tests/evaluation/harness/local_data.py makes them: the right choice, and the text that stands for it.
    right = {
        "arc_easy": [(0, " red test"), (1, " blue test")],
        "openbookqa": [(0, " red test"), (1, " blue test")],
        "piqa": [(0, " use a brush "), (1, " use 1 brushes and water")],
        "mmlu_anatomy": [(0, " A"), (1, " B")],
        "winogrande": [(0, " ran 0."), (1, " ran 1.")],
    }
    metric = "answer_bits_per_byte,none"
    for task, answers in right.items():
        for item, (choice, text) in zip(found.items[task], answers, strict=True):
            log_likelihood = item.more["responses"][choice][0][0]
            expected = -log_likelihood / len(text) / math.log(2)
            assert item.metrics[metric] == pytest.approx(expected), (task, item.doc_id)
        mean = sum(item.metrics[metric] for item in found.items[task]) / len(answers)
        assert value(found, task, metric) == pytest.approx(mean)
    (score,) = (s for s in found.scores if (s.name, s.metric) == ("ai2_arc", metric))
    assert not score.higher_is_better and score.stderr is not None
    assert score.value == pytest.approx(
        (value(found, "arc_easy", metric) + value(found, "arc_challenge", metric)) / 2
    )
    for task in ("truthfulqa_mc2", "gsm8k_cot", "bbh_cot_fewshot_snarks"):  # no one right choice
        assert not any(metric in item.metrics for item in found.items[task])


def test_standard_errors_of_independent_items_are_those_of_the_harness(found: Found) -> None:
    for score in found.scores:
        if len(score.parts) == 1 and score.name != "wsc273" and "," in score.metric:
            values = [item.metrics[score.metric] for item in found.items[score.parts[0].task]]
            theirs = library.module("api.metrics").mean_stderr(values)
            assert score.stderr == pytest.approx(theirs)
    assert next(s for s in found.scores if s.name == "wsc273").stderr is None  # one schema


def test_a_tag_is_its_tasks_weighted_by_size(found: Found) -> None:
    parts = [value(found, name, "acc_norm,none") for name in ("arc_easy", "arc_challenge")]
    assert value(found, "ai2_arc", "acc_norm,none") == pytest.approx(sum(parts) / 2)
    kinds = {score.name: score.kind for score in found.scores}
    assert kinds["ai2_arc"] is Kind.TASK and kinds["arc_easy"] is Kind.PART


def test_what_was_found_is_written_and_read(found: Found, tmp_path: Path) -> None:
    found.write(tmp_path)
    assert read_scores(tmp_path) == found.scores
    (item,) = read_items(tmp_path, "piqa")[:1]
    assert (item.doc_id, item.cluster) == (0, "piqa/0")
    about = json.loads((tmp_path / "results.json").read_text())
    assert about["settings"]["bos"] is True
    assert about["tasks"]["gsm8k_cot"] == {
        "version": "3.0",
        "num_fewshot": 8,
        "items": 2,
        "of_items": 4,
        "data": "local",
    }
    assert about["contexts_cut"] > 0  # eight examples are longer than this model


def test_examples_in_prompts_are_as_many_as_are_wanted(wanted: Wanted) -> None:
    few = Wanted(("piqa", "truthfulqa_mc2", "arc_easy"), wanted.local_data, num_fewshot=2)
    with ready(few) as loaded:
        shots = {name: task.get_config("num_fewshot") for name, task in loaded.tasks.items()}
    assert shots == {"piqa": 2, "truthfulqa_mc2": 0, "arc_easy": 2}
    with ready(Wanted(("im_paper",), wanted.local_data)) as paper:
        pass
    shots = {name: task.get_config("num_fewshot") for name, task in paper.tasks.items()}
    expected = {"piqa": 10, "openbookqa": 0, "wsc273": 0, "winogrande": 5, "arc_easy": 25, "gsm8k_cot": 8}
    assert expected.items() <= shots.items()
    assert "runs programs" in paper.missing["humaneval"]
    assert "56 of its 57 tasks have no data" in paper.missing["mmlu"]
    assert {"hellaswag", "lambada", "wmt14, wmt16", "coqa", "toxigen"} <= paper.missing.keys()


def test_im_paper_shows_what_is_missing_as_missing(
    model: Model, answers: dict[str, Any], wanted: Wanted
) -> None:
    found = run(
        model, Wanted(("im_paper",), wanted.local_data, limit=1, num_fewshot=0, max_new_tokens=4), answers
    )
    told = found.about["im_paper"]
    commonsense = told["categories"]["commonsense"]
    assert commonsense["entries"]["coqa"] is None and commonsense["value"] is None
    known = [commonsense["entries"][name] for name in ("wsc273", "winogrande", "ai2_arc")]
    assert commonsense["of_what_is_there"] == pytest.approx(sum(known) / 3)
    assert told["mean, as the paper"]["value"] is None
    shown = [str(cell) for table in found.tables() for column in table.columns for cell in column.cells]
    assert any(cell.startswith("missing (") for cell in shown)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (("winogrand",), r"--tasks=winogrand: there is no such task; did you mean winogrande\?"),
        (("hellaswag",), r"--tasks=hellaswag: hellaswag has no data here: .*hellaswag"),
        (("humaneval",), r"--tasks=humaneval needs human_eval/HumanEval\.jsonl"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is(
    model: Model, wanted: Wanted, tasks: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [library.tasks_folder() / name for name in ("winogrande", "hellaswag")]
    manage = Definitions._manage  # of all 13,000 definitions it takes long
    monkeypatch.setattr(Definitions, "_manage", lambda self, folders: manage(self, few))
    with pytest.raises(ConfigError, match=message):
        run(model, Wanted(tasks, wanted.local_data), {})


def test_local_data_may_be_in_a_bucket(
    model: Model, answers: dict[str, Any], wanted: Wanted, found: Found
) -> None:
    pytest.importorskip("gcsfs", reason="needs the extra `gs`")
    assert wanted.local_data is not None
    tasks = ("piqa", "mmlu_anatomy", "arc_easy")  # a JSON, a table, a packed JSON
    with stand_in_asked() as store:
        there = readable(store.put_folder(wanted.local_data, "bucket/data"))
        same = run(model, dataclasses.replace(wanted, tasks=tasks, local_data=there), answers)
        with pytest.raises(ConfigError, match="gs://bucket/nothing is no folder of data sets"):
            dataclasses.replace(wanted, local_data=readable("gs://bucket/nothing"))
    assert {task: same.items[task] for task in tasks} == {task: found.items[task] for task in tasks}
    assert same.about["settings"]["local_data"] == "gs://bucket/data"


def test_answers_that_leave_no_room_for_a_prompt_are_refused(model: Model, wanted: Wanted) -> None:
    with pytest.raises(
        ConfigError, match=r"gsm8k_cot asks for answers of 256 tokens.*set --max_new_tokens=128"
    ):
        run(model, Wanted(("gsm8k_cot",), wanted.local_data), {})


def pairs_of(lm: Any, *arguments: tuple[str, str]) -> list[tuple[list[int], list[int]]]:
    """What the adapter asks for likelihoods of."""
    instance = importlib.import_module("lm_eval.api.instance").Instance
    lm.loglikelihood([instance("loglikelihood", {}, pair, n) for n, pair in enumerate(arguments)])
    return lm.asked


def adapter(model: Model, *, bos: bool) -> Any:
    def score(pairs: Any) -> list[tuple[float, bool]]:
        lm.asked = pairs
        return [(0.0, False)] * len(pairs)

    lm = make_lm(model, score, lambda asked: [], bos=bos)
    return lm


def test_pairs_are_split_marked_and_cut_as_the_harness_does(model: Model) -> None:
    def ids(text: str) -> list[int]:
        return model.tokenizer.encode(text).ids.tolist()

    with_bos, without = adapter(model, bos=True), adapter(model, bos=False)
    assert pairs_of(with_bos, ("ab", " c"), ("<s>ab", " c"), ("ab ", "c"), ("", "cd")) == [
        ([256, *ids("ab")], ids(" c")),
        ([256, *ids("ab")], ids(" c")),
        ([256, *ids("ab")], ids(" c")),
        ([256], ids("cd")),
    ]
    assert pairs_of(without, ("ab", " c"), ("", "cd")) == [(ids("ab"), ids(" c")), ([256], ids("cd"))]
    ((context, continuation),) = pairs_of(with_bos, ("x" * 300, "yz"))
    assert len(context) + len(continuation) == 256 + 1 and with_bos.cut == 1
    with pytest.raises(ConfigError, match=r"a continuation of 300 tokens exceeds model\.max_positions=256"):
        pairs_of(with_bos, ("x", "y" * 300))


def test_rolling_scores_each_token_once(model: Model) -> None:
    lm = make_lm(model, lambda pairs: [(float(len(c)), True) for _, c in pairs], lambda asked: [], bos=False)
    instance = importlib.import_module("lm_eval.api.instance").Instance
    requests = [instance("loglikelihood_rolling", {}, ("x" * n,), n) for n in (1, 256, 257, 600)]
    assert lm.loglikelihood_rolling(requests) == [1.0, 256.0, 257.0, 600.0]


def test_generation_is_asked_as_the_task_says(model: Model) -> None:
    seen: list[Asked] = []

    def generate(asked: Any) -> list[str]:
        seen.extend(asked)
        return ["one. two" for _ in asked]

    lm = make_lm(model, lambda pairs: [], generate, bos=False)
    instance = importlib.import_module("lm_eval.api.instance").Instance
    greedy = {"until": [".", "\n"], "max_gen_toks": 5, "do_sample": False, "temperature": 0.7}
    drawn = {"until": ["\n"], "do_sample": True, "temperature": 0.7, "top_p": 0.9}
    requests = [instance("generate_until", {}, ("ab", greedy), 0)]
    with pytest.raises(ConfigError, match="num_beams, which is not known here"):
        lm.generate_until([instance("generate_until", {}, ("a", greedy | {"num_beams": 2}), 0)])
    assert lm.generate_until(requests) == ["one"]
    assert seen[0] == Asked(model.tokenizer.encode("ab").ids.tolist(), 5, [".", "\n", "</s>"], {}, 0)
    short = [instance("generate_until", {}, ("x" * 400, drawn | {"max_gen_toks": 56}), n) for n in range(2)]
    assert lm.generate_until(short) == ["one. two"] * 2
    first, second = seen[1:]
    assert len(first.tokens) == 256 - 56 and first.sampling == {"temperature": 0.7, "top_p": 0.9}
    assert (first.number, second.number) == (0, 1)


def test_the_template_writes_conversations_and_bos_is_written_once(model: Model) -> None:
    lm = adapter(model, bos=add_bos(model, "auto", chat=True))
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    text = lm.apply_chat_template(turns)
    assert text == "<s><user>a<assistant>b</s><user>c<assistant>"
    assert lm.tok_encode(text).count(256) == 1
    begun = [*turns, {"role": "assistant", "content": "d"}]
    assert lm.apply_chat_template(begun, add_generation_prompt=False) == f"{text}d"
    assert add_bos(model, "no", chat=False) is False and add_bos(model, "yes", chat=False) is True


def test_bos_changes_what_is_asked_and_is_told(model: Model, answers: dict[str, Any], wanted: Wanted) -> None:
    found = [
        run(model, Wanted(("piqa",), wanted.local_data, limit=1, add_bos=choice), answers)
        for choice in ("auto", "yes", "no")
    ]
    firsts = [each.items["piqa"][0].more["responses"][0][0][0] for each in found]
    assert firsts[0] == firsts[1] != firsts[2] and all(map(math.isfinite, firsts))
    assert [each.about["settings"]["bos"] for each in found] == [True, True, False]
