"""Scores where texts share what they can, against the plain forward pass of each text alone, and transformers'."""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from im_jax.errors import DataError
from im_jax.evaluation.likelihood import Likelihoods, Score, programs
from im_jax.evaluation.likelihood.cuts import Costs
from im_jax.evaluation.likelihood.rows import Batch
from im_jax.evaluation.likelihood.trees import LABELS
from im_jax.models import decoder
from tests.evaluation.likelihood.models import Pairs, model_of, pairs_of
from tests.models import test_families as families
from tests.models.reference import random_params, reference_logits, variant
from tests.subprocess_devices import run_on_devices

pytestmark = pytest.mark.usefixtures("compiled_quickly")
CONFIG = dataclasses.replace(variant("grouped"), max_positions=400)


def expected(logits: np.ndarray, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """By the definition, in float64, from the logits of the whole text."""
    rows = logits[len(context) - 1 :].astype(np.float64)
    top = rows.max(axis=-1, keepdims=True)
    logprobs = rows - top - np.log(np.exp(rows - top).sum(axis=-1, keepdims=True))
    chosen = logprobs[np.arange(len(continuation)), continuation]
    return float(chosen.sum()), rows.argmax(axis=-1).tolist() == list(continuation)


def assert_scores(
    found: list[Score], logits_of: Callable[[list[int]], np.ndarray], pairs: Pairs, atol: float
) -> None:
    for score, (context, continuation) in zip(found, pairs, strict=True):
        logprob, greedy = expected(logits_of([*context, *continuation[:-1]]), context, continuation)
        assert abs(score.logprob - logprob) <= atol, (context, continuation)
        assert score.is_greedy == greedy


@pytest.fixture(scope="module")
def asked() -> tuple[Likelihoods, Pairs, list[Score]]:
    pairs = pairs_of(CONFIG.vocab_size, questions=40)  # type: ignore[arg-type]
    likelihoods = Likelihoods(model_of(CONFIG, random_params(CONFIG)), batch_tokens=512)
    return likelihoods, pairs, likelihoods(pairs)


def test_scores_are_those_of_each_text_alone_in_float64(asked: tuple) -> None:
    _, pairs, scores = asked
    params = random_params(CONFIG)
    short = [number for number, pair in enumerate(pairs) if len(pair[0]) < 50]
    some = [*short[:12], *(number for number in range(len(pairs)) if number not in short)][:15]
    found = [scores[number] for number in some]
    assert_scores(
        found,
        lambda text: reference_logits(params, CONFIG, np.array(text)),
        [pairs[number] for number in some],
        2e-5,
    )


def test_what_is_asked_beside_in_which_order_and_how_much_at_a_time_do_not_matter(asked: tuple) -> None:
    likelihoods, pairs, scores = asked
    logprobs, greedy = np.array([s.logprob for s in scores]), [s.is_greedy for s in scores]
    order = np.random.default_rng(1).permutation(len(pairs))
    other = likelihoods([pairs[number] for number in order])
    np.testing.assert_allclose([s.logprob for s in other], logprobs[order], rtol=0, atol=1e-5)
    assert [s.is_greedy for s in other] == [greedy[number] for number in order]
    larger = Likelihoods(likelihoods._model, batch_tokens=4096)(pairs)
    np.testing.assert_allclose([s.logprob for s in larger], logprobs, rtol=0, atol=1e-5)
    alone = [likelihoods([pair])[0].logprob for pair in pairs[:5]]
    np.testing.assert_allclose(alone, logprobs[:5], rtol=0, atol=1e-5)
    assert likelihoods([]) == []


def test_greedy_continuations_are_known_and_one_wrong_token_is_enough(asked: tuple) -> None:
    likelihoods, pairs, _ = asked
    model = likelihoods._model
    contexts = [context for context, _ in pairs[:4]]
    answers = [model.answer([np.array(context, np.int32)], max_new_tokens=3)[0] for context in contexts]
    right = [(context, answer.tokens) for context, answer in zip(contexts, answers, strict=True)]
    right = [(context, tokens) for context, tokens in right if tokens]
    wrong = [(context, [*tokens[:-1], (tokens[-1] + 1) % 48]) for context, tokens in right]
    assert right and all(score.is_greedy for score in likelihoods(right))
    assert not any(score.is_greedy for score in likelihoods(wrong))


def test_other_pairs_of_the_same_sizes_compile_nothing(asked: tuple) -> None:
    likelihoods, _, _ = asked
    programs.read.clear_cache()
    programs.extend.clear_cache()
    likelihoods(pairs_of(CONFIG.vocab_size, questions=40))  # type: ignore[arg-type]
    reads = programs.read._cache_size()
    assert reads <= 4 and programs.extend._cache_size() == 1
    likelihoods(pairs_of(CONFIG.vocab_size, questions=40, seed=3))  # type: ignore[arg-type]
    assert programs.read._cache_size() == reads and programs.extend._cache_size() == 1


def test_windows_of_a_long_text_are_those_of_the_harness(asked: tuple) -> None:
    likelihoods, _, _ = asked
    utils = pytest.importorskip("lm_eval.utils", reason="needs the extra `eval`")
    texts = [np.random.default_rng(size).integers(0, 48, size).tolist() for size in (1, 400, 401, 930)]
    for text, found in zip(texts, likelihoods.rolling([*texts, []], 7), strict=False):
        rolling = utils.get_rolling_token_windows(
            token_list=text, prefix_token=7, max_seq_len=CONFIG.max_positions, context_len=1
        )
        scores = likelihoods([utils.make_disjoint_window(window) for window in rolling])
        assert found == pytest.approx(sum(score.logprob for score in scores), abs=1e-4)
    assert likelihoods.rolling([[]], 7) == [0.0]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (([1] * 399, [1, 2, 3]), r"pair 1 has 399 tokens of context and 3 of .*cut the context to 398"),
        (([1], [1] * 401), r"pair 1 has 1 tokens of context and 401 of .*model reads 400 .*by windows"),
        (([], [1]), "pair 1 has no context; begin it with the BOS"),
        (([1], []), "pair 1 has no continuation"),
        (([1, 48], [1]), "pair 1 has token 48; the model knows 0 to 47"),
        (([1], [-1]), "pair 1 has token -1"),
    ],
)
def test_pairs_that_cannot_be_scored_are_named(
    asked: tuple, pair: tuple[list[int], list[int]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        asked[0]([([1], [2]), pair])


@pytest.mark.parity
@pytest.mark.parametrize("name", ["llama_3_2", "qwen2_5", "gemma2", "gemma3_1b", "gpt2"])
def test_scores_of_a_family_are_those_of_transformers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = families.peer(name)
    peer.save_pretrained(tmp_path)
    config, params = families.load(tmp_path)
    pairs = pairs_of(96, shots=70, questions=14)
    likelihoods = Likelihoods(model_of(config, params), batch_tokens=256)
    # What so few share is not worth a prefix, unless only tokens count.
    monkeypatch.setattr(likelihoods, "_costs", Costs(row=64, group=0, keys=math.inf))
    before = programs.extend._cache_size()
    scores = likelihoods(pairs)
    assert programs.extend._cache_size() == before + 1  # there was a prefix
    assert_scores(scores, lambda text: families.peer_logits(peer, np.array(text)), pairs, 1e-4)


def test_eight_devices_score_as_one_does() -> None:
    assert "same on 8 devices" in run_on_devices("tests.evaluation.likelihood.check_sharded")


def test_logits_are_made_block_by_block() -> None:
    config = dataclasses.replace(CONFIG, vocab_size=5003)
    model = model_of(config, jax.jit(functools.partial(decoder.init_params, config))(jax.random.key(0)))
    graph, shape = decoder.decoder_graph(config, model.rules), (8, 256)
    numbers = np.zeros(shape, np.int32)
    batch = Batch(*[numbers] * 4, np.zeros((*shape, LABELS), np.int32), np.zeros(shape, bool))
    prefix = programs.empty_prefix(graph, model.params, 0, model.rules)
    text = programs.read.lower(
        graph, model.params, batch, np.int32(0), prefix, slots=0, softcap=None, rules=model.rules
    ).as_text()
    rows = {int(rows) for rows in re.findall(r"tensor<(\d+)x5003xf32>", text)}
    assert max(rows) == 512 < math.prod(shape)
