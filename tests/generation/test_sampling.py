"""What is drawn follows the exact distribution: of NumPy in float64, for each parameter and for all together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from im_jax.generation.parameters import SamplingParams
from im_jax.generation.sampling import Knobs, draw, knobs_row

V = 24
DRAWS = 4000
LOGITS = np.random.default_rng(0).normal(0, 1.5, V).astype(np.float32)
PROMPT, ANSWER = [1, 2, 2, 5], [5, 7, 7, 7, 9]
CASES: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.6},
    "hot": {"temperature": 2.0},
    "raised": {"temperature": 0.001},
    "top_k": {"temperature": 1.0, "top_k": 5},
    "all of top_k": {"temperature": 1.0, "top_k": -1},
    "top_p": {"temperature": 1.0, "top_p": 0.7},
    "top_p of one": {"temperature": 1.0, "top_p": 0.01},
    "min_p": {"temperature": 1.0, "min_p": 0.2},
    "min_p of one": {"temperature": 1.0, "min_p": 1.0},
    "presence": {"temperature": 1.0, "presence_penalty": 1.5},
    "negative presence": {"temperature": 1.0, "presence_penalty": -1.5},
    "frequency": {"temperature": 1.0, "frequency_penalty": 0.8},
    "repetition": {"temperature": 1.0, "repetition_penalty": 2.5},
    "repetition below 1": {"temperature": 1.0, "repetition_penalty": 0.5},
    "min_tokens": {"temperature": 1.0, "min_tokens": 6, "stop_token_ids": [3, 4]},
    "all": {
        "temperature": 1.4,
        "top_p": 0.9,
        "top_k": 12,
        "min_p": 0.05,
        "presence_penalty": 0.4,
        "frequency_penalty": 0.3,
        "repetition_penalty": 1.3,
    },
}


def exact(params: SamplingParams) -> np.ndarray:
    """Probabilities by vLLM's order, one step after the other, in float64."""
    x = LOGITS.astype(np.float64).copy()
    if len(ANSWER) < params.min_tokens:
        x[list(params.stop_token_ids)] = -np.inf
    for token in set(PROMPT + ANSWER):
        x[token] = (
            x[token] / params.repetition_penalty if x[token] > 0 else x[token] * params.repetition_penalty
        )
    for token in set(ANSWER):
        x[token] -= params.frequency_penalty * ANSWER.count(token) + params.presence_penalty
    x = x / max(params.temperature, 0.01)
    p = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    p[p < params.min_p * p.max()] = 0
    if params.top_k > 0:
        p[np.argsort(-p)[params.top_k :]] = 0
    p /= p.sum()
    kept, total = [], 0.0
    for token in np.argsort(-p):
        if total >= params.top_p and params.top_p < 1:
            break
        kept.append(token)
        total += p[token]
    chosen = np.zeros(V)
    chosen[kept] = p[kept]
    return chosen / chosen.sum()


def drawn(rows: list[SamplingParams], *, first: int = 0) -> np.ndarray:
    """A token for each row, every row under another name."""
    width = 2
    knobs = [
        knobs_row(
            params, limit=100, ends=list(params.stop_token_ids), width=width, name=first + number, sample=0
        )
        for number, params in enumerate(rows)
    ]
    columns = Knobs(**{name: np.stack([row[name] for row in knobs]) for name in Knobs._fields})
    # What a slot held before lies behind its tokens.
    tokens = np.array([*PROMPT, *ANSWER, 11, 12, 13], np.int32)
    count = len(rows)
    return np.asarray(
        _draw(
            np.tile(LOGITS, (count, 1)),
            columns,
            np.tile(tokens, (count, 1)),
            np.full(count, len(PROMPT), np.int32),
            np.full(count, len(PROMPT) + len(ANSWER), np.int32),
        )
    )


_draw = jax.jit(draw)


@pytest.fixture(scope="module")
def together() -> dict[str, np.ndarray]:
    """Draws of all cases, side by side in one batch: no parameter compiles again."""
    params = [SamplingParams.from_record({"max_tokens": 9} | fields) for fields in CASES.values()]
    batch = 200
    rounds = [
        drawn([each for each in params for _ in range(batch)], first=number * len(params) * batch)
        for number in range(DRAWS // batch)
    ]
    assert _draw._cache_size() == 1
    found = np.concatenate([each.reshape(len(params), batch) for each in rounds], axis=1)
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_exact_distribution(together: dict[str, np.ndarray], name: str) -> None:
    expected = exact(SamplingParams.from_record({"max_tokens": 9} | CASES[name])) * DRAWS
    counts = np.bincount(together[name], minlength=V)
    assert not np.any(counts[expected == 0]), "a token that is left out was drawn"
    often = expected >= 5
    seen, wanted = (np.append(x[often], x[~often].sum()) for x in (counts, expected))
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    if len(wanted) > 1:
        assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_the_oracle_tells_orders_apart() -> None:
    """Hugging Face's order, min_p last, keeps other tokens: the test above would see it."""
    params = SamplingParams(max_tokens=9, temperature=1.0, top_k=3, top_p=0.55)
    assert 0 < np.count_nonzero(exact(params)) < 3


def test_a_row_draws_the_same_in_any_company() -> None:
    plain = SamplingParams(max_tokens=9, temperature=1.0)
    greedy = SamplingParams(max_tokens=9)
    others = [SamplingParams.from_record({"max_tokens": 9} | fields) for fields in CASES.values()]
    for row in (plain, greedy, *others):
        alone = drawn([row] * 20)
        mixed = drawn([row] * 20 + others)
        np.testing.assert_array_equal(mixed[:20], alone)
    assert set(drawn([greedy] * 20)) == {int(LOGITS.argmax())}


def test_of_equals_greedy_takes_the_smaller_id() -> None:
    knobs = knobs_row(SamplingParams(max_tokens=1), limit=1, ends=[], width=1, name=0, sample=0)
    columns = Knobs(**{name: jnp.asarray(knobs[name])[None] for name in Knobs._fields})
    tokens, one = jnp.zeros((1, 4), jnp.int32), jnp.ones(1, jnp.int32)
    assert draw(jnp.asarray([[0.0, 2.0, 2.0]]), columns, tokens, one, one).tolist() == [1]


def test_keys_are_as_documented() -> None:
    """fold_in(fold_in(fold_in(key(seed), name), sample), position), then the Gumbel trick."""
    params = SamplingParams(max_tokens=9, temperature=1.0, seed=7)
    expected = []
    for name in range(5):
        key = jax.random.key(7)
        for number in (name, 0, len(ANSWER)):
            key = jax.random.fold_in(key, number)
        expected.append(int(np.argmax(LOGITS + np.asarray(jax.random.gumbel(key, (V,))))))
    assert drawn([params] * 5).tolist() == expected


@pytest.mark.parametrize("size", [5, 300, 1000, 1024])
def test_the_likeliest_is_the_first_of_equals(size: int) -> None:
    logits = np.random.default_rng(1).integers(0, 4, (6, size)).astype(np.float32)
    logits[2] = -np.inf
    logits[2, size - 2 :] = 1.0
    logits[3] = 0.0
    row = knobs_row(SamplingParams(max_tokens=9), limit=9, ends=[], width=1, name=0, sample=0)
    knobs = Knobs(**{name: np.stack([np.asarray(row[name])] * 6) for name in Knobs._fields})
    tokens, ones = np.zeros((6, 8), np.int32), np.ones(6, np.int32)
    drawn = jax.jit(draw)(logits, knobs, tokens, ones, ones)
    np.testing.assert_array_equal(drawn, logits.argmax(-1))
