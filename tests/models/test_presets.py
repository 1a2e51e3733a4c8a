"""Architectures by name: each is one that runs and plans can take, without being told more."""

import pytest

from im_jax.config import ModelConfig
from im_jax.models import decoder, presets
from im_jax.plan.slices import _presets


@pytest.mark.parametrize("name", _presets())
def test_every_name_that_a_plan_offers_is_an_architecture(name: str) -> None:
    config = getattr(presets, name)()
    assert isinstance(config, ModelConfig)
    config.vocab_size = 512
    assert decoder.num_params(config) > 100_000
