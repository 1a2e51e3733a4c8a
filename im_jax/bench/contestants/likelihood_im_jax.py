"""Likelihoods of ours."""

from typing import Any

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant
from im_jax.bench.contestants import jax_backend
from im_jax.bench.contestants.im_jax_step import data_parallel_mesh
from im_jax.bench.contestants.likelihood_requests import requests
from im_jax.bench.contestants.small_llama import model_config
from im_jax.data.tokenizers import make_tokenizer
from im_jax.evaluation.likelihood import Likelihoods, Score
from im_jax.models import decoder
from im_jax.models.checkpoints import load_pretrained
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules


def make(case: Case, variant: str) -> Contestant:
    """All requests of the case, from token ids to scores."""
    del variant
    config, mesh, rules = model_config(case), data_parallel_mesh(), ShardingRules()
    params = load_pretrained(config, decoder.param_shardings(config, mesh, rules))
    likelihoods = Likelihoods(Model(params, config, make_tokenizer(case.tokenizer), None, mesh, rules))
    asked = requests(case)
    scores: list[Score] = []

    def call() -> None:
        scores[:] = likelihoods(asked)

    def values() -> dict[str, Any]:
        return {
            "logprobs": [score.logprob for score in scores],
            "greedy": [float(score.is_greedy) for score in scores],
        }

    return Contestant(call, values, jax_backend.device(), {})
