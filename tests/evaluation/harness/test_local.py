"""Local files in the columns of tasks: made ones as written, real ones in full, and wrong ones by name."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from im_jax.errors import DataError
from im_jax.evaluation.harness.clusters import clusters, schemas
from im_jax.evaluation.harness.local.registry import local_task
from tests.evaluation.harness.local_data import write_local_data


def rows(folder: Path, name: str, split: str = "test") -> list[dict[str, Any]]:
    task = local_task(name)
    assert task is not None and not task.missing(folder)
    return task.load(folder, name)[split]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_local_data(tmp_path_factory.mktemp("local"))


@pytest.mark.parametrize(
    ("name", "split", "number", "expected"),
    [
        ("mmlu_anatomy", "dev", 2, {"question": "Which, dev 2?\nSay.", "choices": ["red", "green", "blue", "old"], "answer": 2, "subject": "anatomy"}),
        ("arc_easy", "test", 1, {"question": "What of 1?", "choices": {"text": ["green test", "blue test", "old test", "small test"], "label": ["A", "B", "C", "D"]}, "answerKey": "B"}),
        ("arc_challenge", "train", 0, {"question": "What of 0?", "choices": {"text": ["red train", "green train", "blue train"], "label": ["A", "B", "C"]}, "answerKey": "A"}),
        ("openbookqa", "test", 2, {"question_stem": "What of 2?", "choices": {"text": ["blue test", "old test", "small test", "round test", "warm test"], "label": ["A", "B", "C", "D", "E"]}, "answerKey": "C"}),
        ("winogrande", "validation", 1, {"sentence": "The green one saw the other, so _ ran 1.", "option1": "Ann", "option2": "Bob", "answer": "2"}),
        ("piqa", "validation", 0, {"goal": "paint it red", "sol1": "use a brush ", "sol2": "use 0 brushes and water", "label": 0}),
        ("boolq_closed", "validation", 1, {"question": "is 1 a number", "label": 0}),
        ("wsc273", "test", 1, {"text": "The red box 0 is not in the red bag because it is too small.", "pronoun": "it", "pronoun_loc": 44, "options": ["The red box", "the red bag"], "label": 1}),
        ("gsm8k_cot", "test", 3, {"question": "What is 3 + 2?", "answer": "3 + 2 = 5\n#### 5"}),
        ("truthfulqa_mc2", "validation", 0, {"question": "How is 0?", "mc1_targets": {"choices": ["It is red.", "Nobody knows.", "It is not."], "labels": [1, 0, 0]}, "mc2_targets": {"choices": ["It is red.", "Nobody knows.", "It is not.", "It looks red."], "labels": [1, 0, 0, 1]}}),
        ("ifeval", "train", 1, {"key": 1, "prompt": "Say 1, no comma.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}),
        ("bbh_cot_fewshot_snarks", "test", 0, {"input": "Is it (A) or (B), 0?", "target": "(A)"}),
    ],
)  # fmt: skip
def test_a_record_becomes_a_row_of_its_task(
    folder: Path, name: str, split: str, number: int, expected: dict[str, Any]
) -> None:
    assert rows(folder, name, split)[number] == expected


def test_wsc273_has_so_many_sentences_and_the_pronoun_stands_where_it_says(folder: Path) -> None:
    found = rows(folder, "wsc273")
    assert len(found) == 273
    assert all(row["text"][row["pronoun_loc"] :].startswith(row["pronoun"]) for row in found)
    assert schemas(found) == [n // 2 for n in range(273)]


def test_only_what_is_one_text_is_one_cluster() -> None:
    docs: list[dict[str, Any]] = [{}, {}]
    assert clusters("piqa", docs, [3, 5]) == ["piqa/3", "piqa/5"]
    assert clusters("lambada_openai_mt_de", docs, [0, 1]) == clusters("lambada_openai_mt_en", docs, [0, 1])
    assert clusters("wmt14-en-fr", docs, [0, 1]) == clusters("wmt14-fr-en", docs, [0, 1])
    assert clusters("wmt16-de-en", docs, [0, 1]) != clusters("wmt16-ro-en", docs, [0, 1])


@pytest.mark.parametrize(
    ("file", "name", "change", "message"),
    [
        ("commonsense/ARC-Easy/test.json", "arc_easy", ("Answer2: ", "Answer7: "), r"test\.json: record 1 cannot be read as an item: .*number 2 is not there"),
        ("commonsense/winogrande/test.json", "winogrande", ("_ ran 1", "it ran 1"), r"record 2 .*one blank"),
        ("piqa/test.json", "piqa", ("Solution2", "Solution 2"), r"record 1 .*Solution2"),
        ("piqa/test.json", "piqa", ("[", "{"), r"piqa/test\.json is not the JSON that was expected"),
        ("mmlu/test/anatomy_test.csv", "mmlu_anatomy", (",3\r\n", ",4\r\n"), r"anatomy_test\.csv: record 4 .*answer 4 is not 0 to 3"),
        ("gsm8k/test.jsonl", "gsm8k_cot", ("#### 3", "so 3"), r"test\.jsonl: record 2 .*no '#### '"),
        ("wsc/WSCollection.xml", "wsc273", ("</collection>", ""), r"WSCollection\.xml cannot be read"),
        ("wsc/WSCollection.xml", "wsc273", (" A. ", " C. "), r"record 1 .*right one 'C'"),
        ("truthfulqa/v1/mc_task.json", "truthfulqa_mc1", (": 1", ": 2"), r"record 1 .*labels are not 0 and 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(
    tmp_path: Path, file: str, name: str, change: tuple[str, str], message: str
) -> None:
    folder = write_local_data(tmp_path)
    path = folder / file
    packed = path.with_name(path.name + ".gz")
    text = (gzip.decompress(packed.read_bytes()) if packed.is_file() else path.read_bytes()).decode()
    packed.unlink(missing_ok=True)
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=message):
        rows(folder, name)


def test_the_real_files_are_read_to_the_last_record(shared_data: Path) -> None:
    sizes = {
        "arc_easy": {"train": 2251, "test": 2376},
        "arc_challenge": {"train": 1119, "test": 1172},
        "openbookqa": {"train": 4957, "test": 500},
        "winogrande": {"validation": 1267},
        "piqa": {"validation": 1838},
        "boolq_closed": {"validation": 3270},
        "wsc273": {"test": 273},
        "gsm8k_cot": {"train": 7473, "test": 1319},
        "truthfulqa_mc2": {"validation": 817},
        "ifeval": {"train": 541},
    }
    for name, expected in sizes.items():
        task = local_task(name)
        assert task is not None
        assert {split: len(found) for split, found in task.load(shared_data, name).items()} == expected
    subjects = [path.name.removesuffix("_test.csv") for path in (shared_data / "mmlu" / "test").glob("*.csv")]
    assert sum(len(rows(shared_data, f"mmlu_{subject}")) for subject in subjects) == 14042
    names = [path.stem for path in (shared_data / "bbh" / "bbh").glob("*.json")]
    assert sum(len(rows(shared_data, f"bbh_cot_fewshot_{name}")) for name in names) == 6511
    found = schemas(rows(shared_data, "wsc273"))
    assert 125 <= found[-1] + 1 <= 140  # two sentences each, a few more or fewer
    first = json.loads(gzip.decompress((shared_data / "piqa" / "test.json.gz").read_bytes()))[0]
    assert rows(shared_data, "piqa", "validation")[0]["goal"] in first["instruction"]
