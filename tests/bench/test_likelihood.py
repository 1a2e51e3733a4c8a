"""The benchmark of likelihoods: its requests, its contestants, and the command line."""

import csv
from pathlib import Path

import numpy as np
import pytest

from im_jax.bench import options
from im_jax.bench.case import Case
from im_jax.bench.contestants import likelihood_hf, likelihood_im_jax, likelihood_requests, small_llama
from im_jax.errors import ConfigError

SIZES = (259, 16, 2, 2, 2, 24)
"""Of a model of the bytes that the tokenizer `bytes` knows."""


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(likelihood_requests, "SUBJECTS", ("college_biology",))
    for split, count in (("dev", 6), ("test", 4)):
        path = tmp_path / f"data/mmlu/{split}/college_biology_{split}.csv"
        path.parent.mkdir(parents=True)
        rows = [[f" What is {number}?", "a", "b", "c", "d", number % 4] for number in range(count)]
        titles = ["question", *(f"choice{number}" for number in range(4)), "answer"]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([titles, *rows])
    places = {"data": str(tmp_path / "data"), "tokenizer": "bytes", "checkpoint": str(tmp_path / "model")}
    return Case("likelihood", (3, 512), "float32", model=SIZES, work="mmlu", **places)


def test_a_prompt_is_as_the_harness_writes_it(case: Case) -> None:
    pairs = likelihood_requests.requests(case)
    assert len(pairs) == 3 * 4
    context = bytes(pairs[5][0][-len("What is 1?\nA. a\nB. b\nC. c\nD. d\nAnswer:") :]).decode()
    assert context == "What is 1?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    text = bytes(token for token in pairs[5][0] if token < 256).decode()
    assert text.startswith(
        "The following are multiple choice questions (with answers) about college biology.\n\n"
        "What is 0?\nA. a\nB. b\nC. c\nD. d\nAnswer: A\n\nWhat is 1?"
    )
    assert text.count("Answer:") == 6
    assert [bytes(continuation).decode() for _, continuation in pairs[4:8]] == [" A", " B", " C", " D"]


@pytest.mark.parity
def test_ours_finds_what_the_harness_s_own_model_finds(case: Case) -> None:
    pytest.importorskip("lm_eval.models.huggingface", reason="needs the extras `eval` and `peers`")
    small_llama.make(case, "")
    found = []
    for module, variant in ((likelihood_im_jax, "im_jax"), (likelihood_hf, "hf_16")):
        contestant = module.make(case, variant)
        contestant.call()
        found.append(contestant.values())
    np.testing.assert_allclose(found[0]["logprobs"], found[1]["logprobs"], rtol=0, atol=1e-4)
    assert len(found[0]["logprobs"]) == 12 and found[0]["greedy"] == found[1]["greedy"]


def test_the_command_line() -> None:
    flags = ["--data=d", "--tokenizer=bytes"]
    found = options.parse(["bench", "likelihood", *flags, "--work=piqa,mmlu", "--shape=9x700"]).cases
    assert [(case.work, case.shape, case.data) for case in found] == [
        ("piqa", (9, 700), "d"),
        ("mmlu", (9, 700), "d"),
    ]
    with pytest.raises(ConfigError, match="--data names no folder"):
        options.parse(["bench", "likelihood"])
    with pytest.raises(ConfigError, match="--work='boolq' is not one of mmlu"):
        options.parse(["bench", "likelihood", *flags, "--work=boolq"])
