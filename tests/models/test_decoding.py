"""Cached greedy decoding against the plain forward pass."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.models import decoder, decoding
from tests.models.reference import random_params, reference_logits, variant

PROMPTS = np.random.default_rng(2).integers(0, 48, (3, 7))
LENGTHS = np.array([7, 1, 4])


def uncached(
    params: decoder.Params, config: ModelConfig, prompt: np.ndarray, new: int, stop_ids: tuple[int, ...]
) -> list[int]:
    """Greedy decoding by the float64 reference, from scratch for every token."""
    tokens = prompt.tolist()
    for _ in range(new):
        tokens.append(int(reference_logits(params, config, np.array(tokens))[-1].argmax()))
        if tokens[-1] in stop_ids:
            break
    return tokens


@pytest.mark.parametrize("name", ["grouped", "tied", "window", "llama3"])
def test_decoding_continues_each_prompt_as_the_whole_forward_pass_does(name: str) -> None:
    config = variant(name)
    params = random_params(config)
    decoded = decoding.greedy(params, config, PROMPTS, LENGTHS, max_new_tokens=9, stop_ids=())
    np.testing.assert_array_equal(decoded.lengths, LENGTHS + 9)
    for row, (prompt, length) in enumerate(zip(PROMPTS, LENGTHS, strict=True)):
        expected = uncached(params, config, prompt[:length], 9, ())
        np.testing.assert_array_equal(decoded.tokens[row, : length + 9], expected)
        assert not np.any(decoded.tokens[row, length + 9 :])


def test_rows_stop_on_their_own_and_keep_the_stop_token() -> None:
    config = variant("grouped")
    params = random_params(config)
    free = [uncached(params, config, PROMPTS[row, :n], 9, ()) for row, n in enumerate(LENGTHS)]
    stop_ids = (free[0][LENGTHS[0] + 2], free[2][LENGTHS[2] + 5])
    decoded = decoding.greedy(params, config, PROMPTS, LENGTHS, max_new_tokens=9, stop_ids=stop_ids)
    expected = [uncached(params, config, PROMPTS[row, :n], 9, stop_ids) for row, n in enumerate(LENGTHS)]
    assert expected[0][-1] in stop_ids and expected[2][-1] in stop_ids
    assert len(expected[0]) < LENGTHS[0] + 9  # stopped before its time was up
    for row, tokens in enumerate(expected):
        assert decoded.lengths[row] == len(tokens)
        np.testing.assert_array_equal(decoded.tokens[row, : len(tokens)], tokens)
        assert not np.any(decoded.tokens[row, len(tokens) :])


def test_hidden_states_through_the_cache_are_those_of_the_reference() -> None:
    """In float64, and as near to it as those without a cache must be (`tests/models/test_decoder.py`)."""
    config, params = variant("window"), random_params(variant("window"))
    model = nnx.merge(decoder.decoder_graph(config), params)
    starts, cache = jnp.zeros(3, jnp.int32), model.new_cache(batch=3, slots=10)
    tokens = jnp.asarray(PROMPTS)
    first, cache = model.decode(tokens[:, :4], jnp.int32(0), starts, cache)
    rest, _ = model.decode(tokens[:, 4:], jnp.int32(4), starts, cache)
    hidden = np.concatenate([first, rest], axis=1).astype(np.float64)
    logits = hidden @ np.asarray(model.head_matrix(), np.float64)
    expected = np.stack([reference_logits(params, config, prompt) for prompt in PROMPTS])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_what_follows_a_prompt_in_its_row_is_ignored() -> None:
    config = variant("plain")
    params = random_params(config)
    one = decoding.greedy(params, config, PROMPTS, LENGTHS, 5, ())
    other = np.where(np.arange(7) < LENGTHS[:, None], PROMPTS, 47)
    jax.tree.map(np.testing.assert_array_equal, decoding.greedy(params, config, other, LENGTHS, 5, ()), one)


def test_other_prompts_and_stop_tokens_do_not_compile_again() -> None:
    config = dataclasses.replace(variant("plain"), num_layers=1)
    params = random_params(config)
    decoding.greedy(params, config, PROMPTS, LENGTHS, 4, (1,))
    before = decoding._greedy._cache_size()
    decoding.greedy(params, dataclasses.replace(config), PROMPTS[::-1], LENGTHS[::-1], 4, (2,))
    assert decoding._greedy._cache_size() == before


@pytest.mark.parametrize("lengths", [[0, 1, 1], [1, 8, 1]])
def test_lengths_outside_the_row_are_refused(lengths: list[int]) -> None:
    config = variant("plain")
    with pytest.raises(ValueError, match=r"lengths must be between 1 and L=7"):
        decoding.greedy(random_params(config), config, PROMPTS, np.array(lengths), 4, ())
