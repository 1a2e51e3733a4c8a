"""Greedy answers are those of transformers' `generate`, for families whose attention differs."""

from pathlib import Path

import numpy as np
import pytest

from im_jax.config import MeshConfig
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.generation.generator import Generator
from im_jax.mesh import make_mesh
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from tests.generation.tiny import requests
from tests.models.test_families import load, peer

NEW_TOKENS = 20
"""Beyond the window of the families that have one."""


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize("name", ["llama_3_2", "qwen2_5", "gemma", "gemma2", "opt_350m"])
def test_greedy_answers_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    theirs = peer(name, vocab_size=258)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    config, params = load(tmp_path)
    model = Model(params, config, ByteTokenizer(), None, make_mesh(MeshConfig()), ShardingRules())
    asked = requests(6, longest=40, max_tokens=NEW_TOKENS, ignore_eos=True)
    found = {each.id: each.token_ids for each in Generator(model, slots=4)(asked)}
    for request in asked:
        prompt = torch.tensor(request.tokens[None].astype(np.int64))
        made = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert found[request.id] == made[0, len(request.tokens) :].tolist()
