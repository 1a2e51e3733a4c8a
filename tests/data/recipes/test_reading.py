"""Recipes run from small files of the same columns to encoded examples."""

import json
import pathlib
import pickle
from typing import Any

import pytest

from im_jax.config import Config, DataConfig, EvalConfig
from im_jax.data.files import located
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.recipes import registry
from im_jax.data.recipes.reading import recipe_chunks
from im_jax.data.recipes.wrappers import wrapped
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError
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
    write(tmp_path / "data" / "train-00000-of-00002.parquet", records[:37])  # told by content, not by name
    write(tmp_path / "data" / "train-00001-of-00002.parquet", records[37:])
    data = prepared(recipe="tulu_v2_20", path=str(tmp_path))
    of_c = [n for n in range(100) if n % 10 > 2][:14]
    expected = sorted([0, 10, 1, 2, 11, 12, *of_c])
    assert [data.train[n].id for n in range(len(data.train))] == [f"i{n}" for n in expected]
    assert data.report.left_out_by_recipe == {"beyond the share of its source": 80}


def test_an_amount_of_a_recipe_is_drawn(tmp_path: pathlib.Path) -> None:
    recipe = registry.find("wizardlm")
    assert recipe.amount == "30000"
    path = write(tmp_path / "WizardLM_evol_instruct_V2_143k.json", DOLLY)
    with pytest.raises(DataError, match=r"fields found"):
        prepared(recipe="wizardlm", path=path)


def test_a_composed_recipe_is_a_mixture_of_its_parts(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"holds no tulu_v2_resampled_flan_50k\.jsonl for the recipe flan_v2"):
        prepared(recipe="tulu_v2_parts", path=str(tmp_path))


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
