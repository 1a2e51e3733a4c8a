"""AlpacaEval: figures and preferences as published, and by hand."""

import csv
import gzip
import json
import math
import pathlib

import pytest

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged.preferences import is_swapped, ranked, unswapped, weighted
from im_jax.evaluation.judged.win_rates import agreement, read_annotations, win_rate

BASE = {
    "instruction": "i",
    "output_1": "a",
    "output_2": "bb",
    "generator_1": "ref",
    "generator_2": "m",
    "annotator": "j",
}


def write(path: pathlib.Path, *changes: dict[str, object]) -> pathlib.Path:
    path.write_text(json.dumps([BASE | change for change in changes], indent=1))
    return path


def test_figures_are_those_of_their_definition(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.json", *({"preference": p} for p in (1, 2, 1.8, 0, 1.5, None)))
    found = win_rate(read_annotations(path))
    shares = [0.0, 1.0, 0.8, 0.5, 0.5]
    mean = sum(shares) / 5
    assert found.win_rate == pytest.approx(100 * mean)
    assert found.standard_error == pytest.approx(
        100 * math.sqrt(sum((s - mean) ** 2 for s in shares) / 4 / 5)
    )
    assert (found.wins, found.losses, found.draws, found.unjudged) == (2, 1, 2, 1)
    assert found.discrete == pytest.approx(100 * 3 / 5)
    assert (found.model, found.reference, found.judge, found.length) == ("m", "ref", "j", 2.0)
    assert found.both_orders is None and found.agreement is None


def test_both_orders_are_averaged_and_their_agreement_is_told(tmp_path: pathlib.Path) -> None:
    pairs = [(1.0, 1.0), (2.0, 1.2), (1.9, 2.0), (1.5, 1.5), (1.5, 1.7)]
    path = write(tmp_path / "a.json", *({"preference": a, "preference_other_order": b} for a, b in pairs))
    found = win_rate(read_annotations(path))
    assert found.agreement == agreement(pairs) == pytest.approx(3 / 5) and found.asked_twice == 5
    assert found.both_orders == pytest.approx(100 * sum((a + b) / 2 - 1 for a, b in pairs) / 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (({"preference": 1}, {"generator_2": "n", "preference": 1}), "a.json: generator_2 must be the same in all annotations, and is m, n"),
        (({"preference": 3},), "a.json:element 1: preference must be a number from 1 to 2, or 0, not '3'"),
        (({"preference": "2"},), "must be a number from 1 to 2"),
        (({"preference": None},), "none of 1 annotations has a verdict"),
        (({"output_2": None, "preference": 1},), "a.json:element 1: output_2 must be text, not None"),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_scored_are_named(
    changes: tuple[dict[str, object], ...], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DataError, match=message):
        win_rate(read_annotations(write(tmp_path / "a.json", *changes)))


def test_a_file_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"--judgements=.*none.json: there is no such file"):
        win_rate(read_annotations(tmp_path / "none.json"))


def choice(**logprobs: float) -> dict[str, object]:
    tokens = [{"token": token, "logprob": math.log(p)} for token, p in logprobs.items()]
    return {"logprobs": {"content": [{"token": "m", "top_logprobs": tokens}]}}


def test_a_weighted_preference_is_the_share_of_the_second_token() -> None:
    assert weighted(choice(m=0.6, M=0.2, The=0.1)) == pytest.approx(1.25)
    assert weighted(choice(M=0.5)) == 2.0 and weighted(choice(m=0.5, x=0.1)) == 1.0
    assert weighted(choice(The=0.9)) is None
    assert weighted({"logprobs": None}) is None and weighted({}) is None
    assert weighted({"logprobs": {"content": []}}) is None
    assert unswapped(1.25, True) == 1.75 and unswapped(1.25, False) == 1.25


@pytest.mark.parametrize(
    ("text", "preference"),
    [
        ("[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]", 1.0),
        ("\n[{'model': 'model_2', 'rank': 1}, {'model': 'model_1', 'rank': 2}] ", 2.0),
        ("[{'model': 'model_1', 'rank': 3}]", None),
        ("[{'model': 'model_1', 'rank': True}]", None),
        ("[{'model': 'model_2', 'rank': 1}]", None),
        ("model_1 is better", None),
        ("__import__('os').system('true')", None),
        ("3", None),
        ("(" * 100_000, None),
        ("", None),
    ],
)
def test_a_ranked_list_is_read_and_nonsense_is_none(text: str, preference: float | None) -> None:
    assert ranked(text) == preference


@pytest.mark.parametrize(
    ("model", "version", "leaderboard"),
    [
        ("alpaca-7b", "weighted_alpaca_eval_gpt4_turbo", "AlpacaEval_2_weighted_alpaca_eval_gpt4_turbo"),
        ("alpaca-7b", "alpaca_eval_gpt4", "AlpacaEval_1_alpaca_eval_gpt4"),
    ],
)
def test_the_published_rows_recompute(
    model: str, version: str, leaderboard: str, shared_data: pathlib.Path
) -> None:
    home = shared_data / "alpaca_eval"
    found = win_rate(read_annotations(home / "results" / model / version / "annotations.json.gz"))
    with (home / "leaderboards" / f"{leaderboard}_leaderboard.csv").open() as file:
        (row,) = (each for each in csv.DictReader(file) if each[""] == model)
    # Annotations are kept to ten digits.
    assert found.win_rate == pytest.approx(float(row["win_rate"]), abs=1e-8)
    assert found.standard_error == pytest.approx(float(row["standard_error"]), abs=1e-8)
    assert found.discrete == pytest.approx(float(row["discrete_win_rate"]), abs=1e-12)
    counts = (found.wins, found.losses, found.draws, found.wins + found.losses + found.draws)
    assert counts == tuple(int(row[name]) for name in ("n_wins", "n_wins_base", "n_draws", "n_total"))
    assert int(found.length) == int(row["avg_length"]) and found.judge == version


def test_published_figures_to_their_last_digit(shared_data: pathlib.Path) -> None:
    results = shared_data / "alpaca_eval" / "results"
    weighted_name = "weighted_alpaca_eval_gpt4_turbo/annotations.json.gz"
    alpaca = win_rate(read_annotations(results / "alpaca-7b" / weighted_name))
    assert f"{alpaca.win_rate:.9f}" == "2.591450540" and f"{alpaca.standard_error:.9f}" == "0.487085538"
    assert (alpaca.wins, alpaca.losses, alpaca.draws) == (
        17,
        785,
        3,
    ) and f"{alpaca.discrete:.9f}" == "2.298136646"
    assert (
        f"{win_rate(read_annotations(results / 'text_davinci_003' / weighted_name)).win_rate:.9f}"
        == "1.962147665"
    )
    first = win_rate(read_annotations(results / "alpaca-7b" / "alpaca_eval_gpt4" / "annotations.json.gz"))
    assert f"{first.win_rate:.9f} {first.standard_error:.9f}" == "26.459627329 1.535711470"


def test_all_stored_preferences_follow_from_the_logprobs(shared_data: pathlib.Path) -> None:
    count = 0
    for model in ("alpaca-7b", "text_davinci_003"):
        path = shared_data / "alpaca_eval" / "results" / model / "weighted_alpaca_eval_gpt4_turbo"
        with gzip.open(path / "annotations.json.gz") as file:
            annotations = json.load(file)
        for each in annotations:
            if each["raw_completion"] is None:  # equal outputs, a draw without a question
                assert each["output_1"] == each["output_2"] or each["preference"] == 1.5
                continue
            found = weighted(each["raw_completion"])
            assert found is not None
            preference = unswapped(found, is_swapped(each["instruction"]))
            assert preference == pytest.approx(each["preference"], abs=6e-11)
            count += 1
    assert count == 1603
