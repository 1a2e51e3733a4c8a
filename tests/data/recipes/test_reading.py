"""Recipes run from small files of the same columns to encoded examples."""

import dataclasses
import json
import pathlib
import pickle
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from im_jax.config import Config, DataConfig, EvalConfig, TurnsConfig
from im_jax.data.entries import source_entries
from im_jax.data.files import located
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.recipes import registry
from im_jax.data.recipes.conversions import messages
from im_jax.data.recipes.reading import recipe_chunks
from im_jax.data.recipes.sets import tulu_v2_parts
from im_jax.data.recipes.wrappers import wrapped
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.losses.policy import policy_weights
from im_jax.token_classes import MAIN_CLASS_TABLE, TokenClass


def prepared(**data: Any) -> Prepared:
    settings: dict[str, Any] = {"source": "jsonl", "max_length": 600, "template": "chatml"} | data
    config = Config(data=DataConfig(**settings), eval=EvalConfig(num_examples=0))
    return prepare(config, make_tokenizer("bytes"), policy_weights("it"))


def write(path: pathlib.Path, records: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def spoken(data: Prepared, main: TokenClass) -> list[str]:
    """What messages of a class say, of each example."""
    tokenizer = make_tokenizer("bytes")
    views = [data.train[number] for number in range(len(data.train))]
    return [tokenizer.decode(view.tokens[MAIN_CLASS_TABLE[view.classes] == main]) for view in views]


DOLLY = [
    {"instruction": f"Do {n}.", "context": f"on {n}" * (n % 2), "response": f"did {n}", "category": "c"}
    for n in range(12)
]


def test_dolly_is_wrapped_by_the_number_of_the_record(tmp_path: pathlib.Path) -> None:
    records = [*DOLLY[:5], {"instruction": "a", "context": "", "response": " ", "category": "c"}, *DOLLY[5:]]
    write(tmp_path / "databricks-dolly-15k.jsonl", records)
    data = prepared(recipe="dolly_15k", path=str(tmp_path))
    expected = [
        wrapped(record["instruction"], record["context"], record["response"], number)
        for number, record in enumerate(records)
        if record["response"].strip()
    ]
    assert spoken(data, TokenClass.USER) == [user for user, _ in expected]
    assert spoken(data, TokenClass.ASSISTANT) == [answer for _, answer in expected]
    assert "  left out by the recipe: 1 without an answer" in data.summary()
    assert data.as_dict()["left_out_by_recipe"] == {"without an answer": 1}
    assert "text that nothing reads" not in data.summary()


def test_plain_text_is_what_the_template_makes_of_instruction_and_input(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "databricks-dolly-15k.jsonl", DOLLY)
    data = prepared(recipe="dolly_15k", path=path, wrapping="plain")
    assert spoken(data, TokenClass.USER)[:2] == ["Do 0.", "Do 1.\n\non 1"]
    alpaca = prepared(recipe="dolly_15k", path=path, wrapping="plain", template="alpaca")
    texts = [make_tokenizer("bytes").decode(alpaca.train[n].tokens) for n in (0, 1)]
    assert "### Input:" not in texts[0] and "### Input:\non 1\n" in texts[1]


def test_a_share_is_the_first_of_each_source(tmp_path: pathlib.Path) -> None:
    records = [
        {
            "dataset": "abbccccccc"[n % 10],
            "id": f"i{n}",
            "messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}],
        }
        for n in range(100)
    ]
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet", records[:37])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", records[37:])  # told by content, not by name
    data = prepared(recipe="tulu_v2_20", path=str(tmp_path))
    of_c = [n for n in range(100) if n % 10 > 2][:14]
    expected = sorted([0, 10, 1, 2, 11, 12, *of_c])
    assert [data.train[n].id for n in range(len(data.train))] == [f"i{n}" for n in expected]
    assert data.report.left_out_by_recipe == {"beyond the share of its source": 80}


def test_a_recipe_of_which_a_number_is_drawn_needs_as_many(tmp_path: pathlib.Path) -> None:
    recipe = registry.find("wizardlm")
    assert recipe.amount == "30000"
    path = write(tmp_path / "WizardLM_evol_instruct_V2_143k.json", DOLLY)
    with pytest.raises(ConfigError, match=r"the source has 12 usable examples, fewer than the 30,000"):
        prepared(recipe="wizardlm", path=path)


def test_a_composed_recipe_is_a_mixture_of_its_parts(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"holds no tulu_v2_resampled_flan_50k\.jsonl for the recipe flan_v2"):
        prepared(recipe="tulu_v2_parts", path=str(tmp_path))


def tulu_parts(folder: pathlib.Path) -> None:
    """A few records of each part, under its name and with its columns."""

    def chat(*texts: str) -> list[dict[str, str]]:
        return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]

    def node(role: str, text: str, *replies: Any) -> dict[str, Any]:
        return {"role": role, "text": text, "labels": {}, "replies": list(replies), "deleted": False}

    three = range(3)
    flan = [{"inputs": f"flan {n}?", "targets": "yes"} for n in three]
    alpaca = [{"instruction": f"alpaca {n}", "input": "", "output": "done"} for n in three]
    tree = node("prompter", "tree?", node("assistant", "leaf"))
    records: dict[str, list[Any]] = {
        "tulu_v2_resampled_flan_50k.jsonl": [*flan, {"inputs": "Ask OpenAI?", "targets": "no"}],
        "cot_zsopt.jsonl": [{"inputs": f"zero {n}:", "targets": "so"} for n in three],
        "cot_fsopt.jsonl": [{"inputs": f"few {n}:", "targets": "so"} for n in three],
        "2023-04-12_oasst_ready.trees.jsonl": [
            {"message_tree_id": "t", "tree_state": "ready", "prompt": tree}
        ],
        "train.jsonl": [{"conversations": ["lima?", "Yes.", "And?"], "source": "s"}],
        "alpaca_gpt4_data.json": alpaca,
        "code_alpaca_20k.json": [*alpaca, {"instruction": "a", "input": "", "output": "I am Claude."}],
        "sg_90k_part1_html_cleaned.json": [{"id": "s", "conversations": chat("share?", "Yes.")}],
        "sg_90k_part2_html_cleaned.json": [{"id": "t", "conversations": [{"from": "bing", "value": "x"}]}],
        "WizardLM_evol_instruct_V2_143k.json": [
            {"idx": f"w{n}", "conversations": chat("w?", "W.")} for n in three
        ],
        "1M-GPT4-Augmented.parquet": [
            {"id": f"o{n}", "system_prompt": "Be kind.", "question": f"orca {n}?", "response": "o"}
            for n in three
        ],
        "science_train.jsonl": [{"dataset": "qasper", "input": "science?", "output": "yes"}],
        "hard_coded_examples.jsonl": [{"Prompt": "Who made you?", "Output": "Not OpenAI."}],
    }
    for name, made in records.items():
        write(folder / name, made)


def test_tulu_is_composed_of_its_parts_in_order(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tulu_parts(tmp_path)
    with pytest.raises(
        ConfigError, match=r"cot_zero_shot has 3 usable examples, fewer than the 25,000 asked"
    ):
        prepared(recipe="tulu_v2_parts", path=str(tmp_path))
    whole = tulu_v2_parts.RECIPE
    small = [dataclasses.replace(part, amount=part.amount.replace("000", "")) for part in whole.parts]
    small = [dataclasses.replace(part, amount="2") if part.amount.isdecimal() else part for part in small]
    monkeypatch.setattr(tulu_v2_parts, "RECIPE", dataclasses.replace(whole, parts=tuple(small)))
    registry.find.cache_clear()
    data = prepared(recipe="tulu_v2_parts", path=str(tmp_path))
    registry.find.cache_clear()
    assert {name: share.occurrences for name, share in data.shares.items()} == {
        "flan_v2": 3,
        "cot_zero_shot": 2,
        "cot_few_shot": 2,
        "oasst1": 1,
        "lima": 1,
        "gpt4_alpaca": 2,
        "code_alpaca": 3,
        "sharegpt": 1,
        "wizardlm": 2,
        "open_orca_gpt4": 2,
        "science": 1,
        "tulu_hard_coded": 10,
    }
    names = [data.train[n].id.partition("/")[0] for n in range(len(data.train))]
    assert list(dict.fromkeys(names)) == list(data.shares)
    said = "\n".join(spoken(data, TokenClass.ASSISTANT))
    assert said.count("Not OpenAI.") == 10, "hard-coded answers may name the model"
    assert "Claude" not in said
    assert data.report.left_out_by_recipe == {
        "names a model or its maker": 2,
        "with a turn of system or bing": 1,
    }
    assert spoken(data, TokenClass.SYSTEM).count("Be kind.") == 2


def test_chunks_of_a_recipe_are_the_same_in_another_process(tmp_path: pathlib.Path) -> None:
    recipe = registry.find("dolly_15k")
    path = write(tmp_path / "d.jsonl", [*DOLLY, ["no object"]])
    with (tmp_path / "d.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    chunks = list(recipe_chunks(recipe, located(path, "data.path"), "data.path"))
    sent = pickle.loads(pickle.dumps(chunks))
    here, there = ([record for chunk in each for record in chunk.records()] for each in (chunks, sent))
    assert here == there and len(here) == sum(map(len, chunks)) == 14
    assert here[12].value == ["no object"], "what is no object goes on, to be refused with its place"


def parquet(path: pathlib.Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


def test_arrays_and_shards_are_read_under_their_published_names(tmp_path: pathlib.Path) -> None:
    alpaca = [{"instruction": f"do {n}", "input": "", "output": f"did {n}"} for n in range(4)]
    (tmp_path / "alpaca_data.json").write_text(json.dumps(alpaca, indent=1), encoding="utf-8")
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    row = {"prompt": "hi", "messages": chat, "category": "Chat"}
    for shard in range(2):
        rows = [row | {"prompt_id": f"p{2 * shard + n}"} for n in range(2)]
        parquet(tmp_path / "robots" / "data" / f"train-0000{shard}-of-00002.parquet", rows)
    parquet(tmp_path / "robots" / "data" / "test-00000-of-00001.parquet", [row | {"prompt_id": "t"}])
    wizard = [
        {"idx": f"w{n}", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
        for n in range(3)
    ]
    (tmp_path / "w.json").write_text(json.dumps(wizard), encoding="utf-8")
    hermes = [
        {
            "id": None,
            "system_prompt": None,
            "skip_prompt_formatting": None,
            "source": "s",
            "conversations": [
                {"from": "system", "value": "Be kind.", "weight": None},
                {"from": "human", "value": "a", "weight": 0.0},
                {"from": "gpt", "value": "b", "weight": 1.0},
            ],
        },
        {
            "system_prompt": "Be brief.",
            "conversations": [
                {"from": "human", "value": "c", "weight": None},
                {"from": "gpt", "value": "d", "weight": None},
            ],
        },
    ]
    (tmp_path / "openhermes2_5.json").write_text(json.dumps(hermes), encoding="utf-8")
    data = prepared(
        path=str(tmp_path),
        mixture=f"a=recipe:stanford_alpaca@all;r=recipe:no_robots@all;w=recipe:wizardlm:{tmp_path / 'w.json'}@2;"
        "h=recipe:openhermes_2_5@all",
    )
    ids = [data.train[n].id for n in range(len(data.train))]
    assert [name for name in ids if name[0] == "r"] == ["r/p0", "r/p1", "r/p2", "r/p3"]
    assert [share.trained for share in data.shares.values()] == [4, 4, 2, 2]
    assert spoken(data, TokenClass.SYSTEM)[-2:] == ["Be kind.", "Be brief."]
    assert "text that nothing reads" not in data.summary()


@pytest.mark.parametrize(
    ("recipe", "folder", "count", "figures"),
    [
        ("alpagasus_dolly_3k", "alpagasus", 2996, None),
        ("alpagasus_alpaca_5k", "alpagasus", 5305, None),
        ("alpagasus_dolly_3k", "instruction_modelling", 2996, (68.08, 43.83)),
        ("alpagasus_alpaca_5k", "instruction_modelling", 5305, (30.81, 17.48)),
    ],
)
def test_recipes_run_whole_on_the_files_that_are_here(
    recipe: str, folder: str, count: int, figures: tuple[float, float] | None, shared_data: pathlib.Path
) -> None:
    data = prepared(recipe=recipe, path=str(shared_data / folder), max_length=65536)
    left_out = data.report.left_out_by_recipe.total()
    assert data.report.kept + left_out == count == registry.find(recipe).records
    if figures is not None:
        words = [data.train.column(name) for name in ("output_words", "instruction_words")]
        assert tuple(round(float(each.mean()), 2) for each in words) == figures


ALPACA = [{"instruction": f"Do {n}.", "input": "", "output": "" if n == 3 else f"did {n}"} for n in range(6)]


@pytest.mark.parametrize("name", ["claude_t45.json", "alpagasus_claude_t45_alpaca.jsonl"])
def test_empty_answers_of_alpaca_5k_are_kept_unless_the_user_says_otherwise(
    name: str, tmp_path: pathlib.Path
) -> None:
    if name.endswith(".json"):
        (tmp_path / name).write_text(json.dumps(ALPACA))
    else:
        asked = [((record["instruction"], record["output"]), n) for n, record in enumerate(ALPACA)]
        write(tmp_path / name, [messages(texts) | {"id": f"a{n}", "dataset": "d"} for texts, n in asked])
    recipe = {"recipe": "alpagasus_alpaca_5k", "path": str(tmp_path)}
    data = prepared(**recipe)
    assert [text.strip() for text in spoken(data, TokenClass.ASSISTANT)] == [r["output"] for r in ALPACA]
    assert data.report.turn_choices == {"an empty turn kept": 1} and not data.report.left_out_by_recipe
    mixed = prepared(mixture=f"m=recipe:alpagasus_alpaca_5k:{tmp_path}@all")
    assert mixed.report.turn_choices == data.report.turn_choices
    left = prepared(**recipe, turns=TurnsConfig(empty="skip")).report
    assert (left.kept, left.total, left.left_out_by_turns) == (5, 6, {"with an empty turn": 1})


def test_what_decides_a_reading_is_in_its_name(tmp_path: pathlib.Path) -> None:
    tulu_parts(tmp_path)
    path = str(tmp_path)

    def readings(**data: Any) -> list[str]:
        return [entry.reading for entry in source_entries(DataConfig(source="jsonl", path=path, **data))]

    assert readings() == [""]
    assert readings(recipe="code_alpaca") == ["code_alpaca, version 1, wrapped"]
    assert readings(recipe="code_alpaca", wrapping="plain") == ["code_alpaca, version 1, plain"]
    assert readings(recipe="lima", wrapping="plain") == ["lima, version 1"]
    parts = readings(recipe="tulu_v2_parts")
    assert "code_alpaca, version 1, wrapped, without names" in parts
    assert parts[-1] == "tulu_hard_coded, version 1"
    amounts = [readings(mixture=f"a=recipe:lima@{amount}") for amount in ("all", "1", "x2")]
    assert amounts == [["lima, version 1"]] * 3, "another amount encodes nothing anew"
