"""Architectures by name: each is one that runs and plans can take, without being told more."""

import pytest

from im_jax.models import counts, presets
from im_jax.models.presets import ARCHITECTURES


def test_all_of_the_module_are_there() -> None:
    made_here = [x for x in vars(presets).values() if getattr(x, "__module__", "") == presets.__name__]
    assert list(ARCHITECTURES.values()) == made_here


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_name_that_a_plan_offers_is_an_architecture(name: str) -> None:
    config = ARCHITECTURES[name]()
    config.vocab_size = 512
    assert counts.num_params(config) > 100_000
