"""Parameters of sampling: bounds, names, and what a record says."""

import dataclasses
import re
from typing import Any

import pytest

from im_jax.errors import DataError
from im_jax.generation.parameters import SamplingParams


@pytest.mark.parametrize(
    ("field", "values", "allowed"),
    [
        ("max_tokens", [0, -1, 1.5, True, "5", None], "a whole number of 1 or more"),
        ("n", [0, 1.0], "a whole number of 1 or more"),
        ("temperature", [-0.1, 2.1, float("nan"), "1", None], "a number from 0 to 2"),
        ("top_p", [0, 1.01, float("inf")], "a number above 0 and at most 1"),
        ("top_k", [-2, 1.0], "0 or -1 for all, or a whole number of 1 or more"),
        ("min_p", [-0.1, 1.1], "a number from 0 to 1"),
        ("presence_penalty", [-2.1, 2.1], "a number from -2 to 2"),
        ("frequency_penalty", [-2.1, 2.1], "a number from -2 to 2"),
        ("repetition_penalty", [0, -1], "a number above 0"),
        ("seed", [-1, 2**32, 1.0], "a whole number from 0 to 4294967295"),
        ("stop", [("",), (1,), "text", 3], "one text or several, none of them empty"),
        ("stop_token_ids", [(-1,), (1.0,)], "ids of tokens, 0 or more"),
        ("ignore_eos", [1, "true"], "true or false"),
        ("min_tokens", [-1], "a whole number of 0 or more"),
        ("logprobs", [-1, 21, 1.0], "none, or a whole number from 0 to 20"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(
    field: str, values: list[Any], allowed: str
) -> None:
    for value in values:
        with pytest.raises(DataError) as caught:
            SamplingParams(**{"max_tokens": 5, "temperature": 1.0} | {field: value})
        assert str(caught.value) == f"{field}={value!r} is not allowed; set {allowed}"


def test_contradictions_are_refused() -> None:
    with pytest.raises(DataError, match="min_tokens=6 is more than max_tokens=5; set at most as many"):
        SamplingParams(max_tokens=5, min_tokens=6)
    with pytest.raises(
        DataError, match="n=2 with temperature=0 gives equal answers; set n=1, or a temperature"
    ):
        SamplingParams(max_tokens=5, n=2)


def test_a_record_sets_what_it_names_over_defaults() -> None:
    defaults = {"max_tokens": 5, "temperature": 0.5, "stop": ("a",)}
    params = SamplingParams.from_record({"stop": "END", "stop_token_ids": [1], "top_k": 3}, defaults)
    expected = SamplingParams(max_tokens=5, temperature=0.5, stop=("END",), stop_token_ids=(1,), top_k=3)
    assert params == expected
    assert SamplingParams.from_record({}, expected) == expected
    assert SamplingParams.from_record({"stop": ["x", "y"]}, expected).stop == ("x", "y")


def test_a_record_needs_max_tokens_and_known_names() -> None:
    with pytest.raises(DataError, match="max_tokens is not set; set how many tokens an answer has at most"):
        SamplingParams.from_record({"temperature": 1.0})
    known = ", ".join(field.name for field in dataclasses.fields(SamplingParams))
    message = f"'max_new_tokens' is no parameter of sampling; known are {known}"
    with pytest.raises(DataError, match=re.escape(message)):
        SamplingParams.from_record({"max_new_tokens": 3})


@pytest.mark.parametrize(
    ("temperature", "divisor"), [(0.0, 1.0), (9e-6, 1.0), (1e-5, 0.01), (0.01, 0.01), (0.7, 0.7)]
)
def test_low_temperatures_are_greedy_or_raised(temperature: float, divisor: float) -> None:
    params = SamplingParams(max_tokens=1, temperature=temperature)
    assert params.greedy == (temperature < 1e-5)
    assert params.divisor == divisor
