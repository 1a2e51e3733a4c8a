"""The benchmark of generation: its prompts, its contestants, and the command line."""

import dataclasses
import gzip
import json
from pathlib import Path

import pytest

from im_jax.bench import options
from im_jax.bench.case import Case
from im_jax.bench.contestants import generate_im_jax, generate_prompts, generate_transformers, small_llama
from im_jax.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("compiled_quickly")
SIZES = (259, 16, 2, 2, 2, 24)
"""Of a model of the bytes that the tokenizer `bytes` knows."""


@pytest.fixture
def case(tmp_path: Path) -> Case:
    questions, outputs = tmp_path / "question.jsonl", tmp_path / "outputs.json.gz"
    questions.write_text(
        "".join(json.dumps({"turns": [text, "x"]}) + "\n" for text in ("ab", "a longer one"))
    )
    outputs.write_bytes(gzip.compress(json.dumps([{"instruction": "c", "output": "y"}] * 3).encode()))
    places = {"data": f"{questions},{outputs}", "tokenizer": "bytes", "checkpoint": str(tmp_path / "model")}
    return Case("generate", (4, 5), "float32", model=SIZES, **places)


def test_prompts_are_the_first_of_all_files(case: Case) -> None:
    asked = generate_prompts.asked(case)
    texts = [bytes(token for token in tokens if token < 256) for tokens, _ in asked]
    assert texts == [b"ab", b"a longer one", b"c", b"c"]
    assert [new for _, new in asked] == [5, 5, 5, 5]


def test_real_answers_are_as_long_as_those_of_the_records(case: Case, tmp_path: Path) -> None:
    (tmp_path / "more.json").write_text(
        json.dumps([{"instruction": "c", "output": text} for text in ("abc", "abcdefg")])
    )
    case = dataclasses.replace(case, work="real", data=f"{tmp_path}/question.jsonl,{tmp_path}/more.json")
    assert [new for _, new in generate_prompts.asked(case)] == [3, 5, 3, 5]
    case = dataclasses.replace(case, shape=(2, 5), data=f"{tmp_path}/question.jsonl")
    with pytest.raises(DataError, match="no answer in the field output"):
        generate_prompts.asked(case)


def test_too_few_prompts_and_records_without_any_are_told(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data has 5 prompts, and --shape asks for 6"):
        generate_prompts.asked(Case("generate", (6, 5), "float32", data=case.data, tokenizer="bytes"))
    (tmp_path / "other.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"other\.jsonl:1: has no text in any of turns, instruction, prompt"):
        generate_prompts.asked(Case("", (1, 5), "", data=str(tmp_path / "other.jsonl"), tokenizer="bytes"))


@pytest.mark.parity
@pytest.mark.parametrize("work", ["fixed", "real"])
def test_ours_answers_what_transformers_answers(case: Case, work: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `parity`")
    outputs = tmp_path / "answers.json"
    outputs.write_text(json.dumps([{"instruction": "c" * n, "output": "y" * n} for n in (1, 3, 2, 5)]))
    case = dataclasses.replace(case, work=work, data=str(outputs))
    small_llama.make(case, "")
    found = []
    for module, variant in ((generate_im_jax, "im_jax"), (generate_transformers, "transformers_3")):
        contestant = module.make(case, variant)
        contestant.call()
        found.append(contestant.values()["answers"])
    assert found[0] == found[1] and len(found[0]) == {"fixed": 4 * 5, "real": 1 + 3 + 2 + 5}[work]


def test_the_command_line() -> None:
    flags = ["--data=a,b", "--tokenizer=bytes"]
    (found, real) = options.parse(["bench", "generate", *flags, "--shape=9x7"]).cases
    assert (found.work, real.work) == ("fixed", "real")
    assert (found.shape, found.data, found.model[0]) == ((9, 7), "a,b", 32000)
    with pytest.raises(ConfigError, match="--data names no files of prompts"):
        options.parse(["bench", "generate"])
    with pytest.raises(ConfigError, match="--work='short' is not one of fixed, real"):
        options.parse(["bench", "generate", *flags, "--work=short"])
