"""Run by test_likelihoods on eight devices: scores on meshes of one device and of eight."""

import dataclasses

import numpy as np

from im_jax.evaluation.likelihood import Likelihoods
from tests.evaluation.likelihood.models import model_of, pairs_of
from tests.models.reference import random_params, variant


def main() -> None:
    # A vocabulary that eight parts leave something of.
    config = dataclasses.replace(variant("grouped"), max_positions=400)
    params, pairs = random_params(config), pairs_of(48, questions=12)
    single = Likelihoods(model_of(config, params), batch_tokens=1024)(pairs)
    for shape in ((1, 8, 1), (2, 2, 2)):
        found = Likelihoods(model_of(config, params, shape), batch_tokens=1024)(pairs)
        np.testing.assert_allclose(
            [score.logprob for score in found], [score.logprob for score in single], rtol=2e-6, atol=1e-5
        )
        assert [score.is_greedy for score in found] == [score.is_greedy for score in single]
    print("same on 8 devices")


if __name__ == "__main__":
    main()
