"""The engine: answers depend on the request alone, and are those of the whole forward pass."""

import dataclasses
import random

import jax
import numpy as np
import pytest

from im_jax.errors import DataError
from im_jax.generation import programs
from im_jax.generation.generator import Generator
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Completion, Request
from im_jax.models import decoder
from im_jax.models.loaded import Model
from tests.generation.tiny import CONFIG, requests, tiny_model
from tests.models.reference import reference_logits
from tests.subprocess_devices import run_on_devices

DRAWN = {"temperature": 1.2, "top_p": 0.9, "top_k": 50, "repetition_penalty": 1.1, "presence_penalty": 0.2}


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def generator(model: Model) -> Generator:
    return Generator(model, slots=8)


def answers(generator: Generator, asked: list[Request]) -> dict[tuple[str, int], Completion]:
    return {(each.id, each.sample): each for each in generator(asked)}


def test_greedy_answers_are_those_of_the_forward_pass_in_float64(model: Model, generator: Generator) -> None:
    asked = requests(12, ignore_eos=True, max_tokens=6)
    found = answers(generator, asked)
    for request in asked[:5]:
        tokens = request.tokens.tolist()
        total = 0.0
        for _ in range(6):
            logits = reference_logits(model.params, model.config, np.array(tokens))[-1, :258]
            tokens.append(int(logits.argmax()))
            total += logits.max() - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        answer = found[request.id, 0]
        assert answer.token_ids == tokens[len(request.tokens) :]
        assert answer.finish_reason == "length"
        assert answer.prompt_tokens == len(request.tokens)
        assert answer.cumulative_logprob == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("params", [{}, DRAWN], ids=["greedy", "drawn"])
def test_answers_are_the_same_to_the_bit_in_any_order_and_company(generator: Generator, params: dict) -> None:
    asked = requests(30, max_tokens=40, **params)
    asked = [
        each._replace(params=dataclasses.replace(each.params, max_tokens=1 + 7 * (number % 6)))
        for number, each in enumerate(asked)
    ]
    whole = answers(generator, asked)
    assert len({tuple(each.token_ids) for each in whole.values()}) > 20
    mixed = random.Random(3).sample(asked, 11)
    other = [
        each._replace(id=f"other {each.id}") for each in requests(9, seed=5, longest=100, temperature=1.0)
    ]
    for some in (asked[::-1], mixed, [*other, *mixed]):
        found = answers(generator, some)
        for each in some:
            if (each.id, 0) in whole:
                assert found[each.id, 0] == whole[each.id, 0]


def test_a_batch_of_many_is_a_batch_of_one(model: Model, generator: Generator) -> None:
    asked = requests(10)
    one = Generator(model, slots=1)
    for key, answer in answers(generator, asked).items():
        alone = next(iter(one([each for each in asked if each.id == key[0]])))
        assert alone.token_ids == answer.token_ids
        assert alone.cumulative_logprob == pytest.approx(answer.cumulative_logprob, abs=1e-4)


def test_greedy_is_what_the_model_answers(model: Model, generator: Generator) -> None:
    asked = requests(9)
    expected = model.answer([each.tokens for each in asked], max_new_tokens=12)
    found = answers(generator, asked)
    for request, answer in zip(asked, expected, strict=True):
        ours = found[request.id, 0]
        ended = ours.finish_reason == "stop"
        assert (ours.token_ids[:-1] if ended else ours.token_ids, ours.text) == (answer.tokens, answer.text)


def test_samples_seeds_and_ids_decide_the_draws(generator: Generator) -> None:
    (asked,) = requests(1, temperature=1.0, n=3)
    found = answers(generator, [asked])
    assert len({tuple(each.token_ids) for each in found.values()}) == 3
    again = asked._replace(params=dataclasses.replace(asked.params, n=2))
    assert answers(generator, [again]) == {key: found[key] for key in found if key[1] < 2}
    assert list(generator([asked], without={(asked.id, 0), (asked.id, 2)})) == [found[asked.id, 1]]
    other_seed = asked._replace(params=dataclasses.replace(asked.params, seed=1))
    for changed in (asked._replace(id="other"), other_seed):
        assert answers(generator, [changed])[changed.id, 0].token_ids != found[asked.id, 0].token_ids


def test_other_parameters_ends_and_numbers_of_requests_compile_nothing(model: Model) -> None:
    small = dataclasses.replace(CONFIG, num_layers=1)
    params = decoder.init_params(small, jax.random.key(0))
    generator = Generator(dataclasses.replace(model, config=small, params=params), slots=4)
    before = programs.advance._cache_size(), programs.fill._cache_size()
    list(generator(requests(9, longest=30)))
    first = programs.advance._cache_size(), programs.fill._cache_size()
    assert first[0] - before[0] == 1
    list(generator(requests(5, seed=1, longest=30, stop=["a"], **DRAWN)))
    list(generator(requests(2, seed=2, longest=30, ignore_eos=True, stop_token_ids=[3, 4], min_tokens=2)))
    assert (programs.advance._cache_size(), programs.fill._cache_size()) == first


def test_rows_that_no_token_has_are_never_drawn(model: Model) -> None:
    params = dict(model.params)
    head = np.array(params["head"])
    head[:, 258:] *= 50
    params["head"] = head
    generator = Generator(model.with_params(params), slots=4)
    asked = requests(8, temperature=2.0, logprobs=2, ignore_eos=True) + [
        each._replace(id=f"greedy {each.id}") for each in requests(4, logprobs=2, ignore_eos=True)
    ]
    for answer in generator(asked):
        assert max(answer.token_ids) < 258
        assert answer.logprobs is not None
        assert all(max(each) < 258 for each in answer.logprobs)


def test_log_probabilities_are_those_of_the_model_itself(model: Model, generator: Generator) -> None:
    (asked,) = requests(1, temperature=0.5, repetition_penalty=2.0, logprobs=3, max_tokens=4, ignore_eos=True)
    (answer,) = generator([asked])
    assert answer.logprobs is not None
    tokens = asked.tokens.tolist()
    for token, told in zip(answer.token_ids, answer.logprobs, strict=True):
        logits = reference_logits(model.params, model.config, np.array(tokens))[-1, :258]
        expected = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        assert next(iter(told)) == token
        assert set(np.argsort(-expected)[:3]) <= set(told) and len(told) in (3, 4)
        np.testing.assert_allclose(list(told.values()), expected[list(told)], atol=1e-4)
        tokens.append(token)
    assert answer.cumulative_logprob == pytest.approx(
        sum(next(iter(told.values())) for told in answer.logprobs), abs=1e-5
    )


def test_a_model_with_positions_to_spare_ends_at_them(generator: Generator) -> None:
    (asked,) = requests(1, max_tokens=1000, ignore_eos=True)
    (answer,) = generator([asked])
    assert answer.finish_reason == "length"
    assert len(answer.token_ids) + len(asked.tokens) == CONFIG.max_positions


@pytest.mark.parametrize(
    ("tokens", "params", "message"),
    [
        ([], {}, "the prompt is empty"),
        ([97] * 160, {}, "has 160 tokens, which leaves no room for an answer in the model's 160 positions"),
        ([300], {}, "token 300 is not of the model's 258"),
        ([97], {"stop_token_ids": [258]}, "token 258 is not of the model's 258"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    generator: Generator, tokens: list[int], params: dict, message: str
) -> None:
    params = SamplingParams.from_record({"max_tokens": 1} | params)
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        generator.check(Request("here", np.array(tokens, np.int32), params))


def test_nothing_asked_is_nothing_answered(generator: Generator) -> None:
    assert list(generator([])) == []


def test_memory_of_keys_and_values_is_said(generator: Generator) -> None:
    shape = generator.shape(requests(3, longest=20))
    state = generator._run(programs.begin, shape=shape)
    assert generator.cache_bytes(shape) == sum(each.nbytes for each in state.cache)


def test_one_device_is_eight() -> None:
    assert "same on 8 devices" in run_on_devices("tests.generation.check_devices")
