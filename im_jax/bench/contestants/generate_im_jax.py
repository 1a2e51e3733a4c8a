"""Greedy answers of ours."""

import dataclasses

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, Values
from im_jax.bench.contestants import jax_backend
from im_jax.bench.contestants.generate_prompts import asked, positions
from im_jax.bench.contestants.im_jax_step import data_parallel_mesh
from im_jax.bench.contestants.small_llama import model_config
from im_jax.data.tokenizers import make_tokenizer
from im_jax.generation import Completion, Generator, Request, SamplingParams
from im_jax.models import decoder
from im_jax.models.checkpoints import load_pretrained
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules


def make(case: Case, variant: str) -> Contestant:
    """All prompts of the case, from token ids to texts."""
    del variant
    prompts = asked(case)
    config = dataclasses.replace(model_config(case), max_positions=positions(prompts))
    mesh, rules = data_parallel_mesh(), ShardingRules()
    params = load_pretrained(config, decoder.param_shardings(config, mesh, rules))
    generator = Generator(Model(params, config, make_tokenizer(case.tokenizer), None, mesh, rules))
    # No answer ends by itself, so that all contestants decode as many tokens.
    requests = [
        Request(str(number), tokens, SamplingParams(max_tokens=new, ignore_eos=True))
        for number, (tokens, new) in enumerate(prompts)
    ]
    answers: dict[int, Completion] = {}

    def call() -> None:
        answers.update((int(answer.id), answer) for answer in generator(requests))

    def values() -> Values:
        return {"answers": [token for number in range(len(prompts)) for token in answers[number].token_ids]}

    return Contestant(call, values, jax_backend.device(), {})
