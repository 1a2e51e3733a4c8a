"""Schedules and AdamW against transformers and torch."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im_jax.config import OptimizerConfig
from im_jax.errors import ConfigError
from im_jax.training.optimizer import is_matrix, make_optimizer, make_schedule

STEPS = 50


@pytest.mark.parity
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_schedule_equals_that_of_transformers(schedule: str) -> None:
    torch = pytest.importorskip("torch", reason="needs ./launch/test.sh --parity")
    transformers = pytest.importorskip("transformers", reason="needs ./launch/test.sh --parity")
    names = {"constant": "constant_with_warmup"}
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2e-5)
    theirs = transformers.get_scheduler(
        names.get(schedule, schedule), optimizer, num_warmup_steps=3, num_training_steps=STEPS
    )
    ours = make_schedule(OptimizerConfig(schedule=schedule, warmup_steps=3), STEPS)
    for step in range(STEPS):
        assert float(ours(step)) == pytest.approx(theirs.get_last_lr()[0], rel=1e-5, abs=1e-12)
        optimizer.step()
        theirs.step()


def test_warmup_fraction_is_rounded_up_to_steps() -> None:
    schedule = make_schedule(OptimizerConfig(learning_rate=1.0, warmup_fraction=0.03), STEPS)
    assert [float(schedule(s)) for s in range(3)] == pytest.approx([0.0, 0.5, 1.0])


def test_warmup_longer_than_training_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"warmup_steps=60 must be between 0 and the 50 training steps"):
        make_schedule(OptimizerConfig(warmup_steps=60), STEPS)


@pytest.mark.parity
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_updates_equal_those_of_torch(preset: str) -> None:
    torch = pytest.importorskip("torch", reason="needs ./launch/test.sh --parity")
    betas, eps, clip = ((0.9, 0.98), 1e-6, 0.0) if preset == "paper" else ((0.9, 0.999), 1e-8, 1.0)
    rng = np.random.default_rng(0)
    start = rng.normal(size=(7, 5)).astype(np.float32)
    gradients = rng.normal(size=(6, 7, 5)).astype(np.float32)

    parameter = torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.AdamW([parameter], lr=1e-2, betas=betas, eps=eps, weight_decay=0.1)
    config = OptimizerConfig(preset=preset, learning_rate=1e-2, weight_decay=0.1)
    ours = make_optimizer(config, optax.constant_schedule(1e-2))
    params = {"weight": jnp.asarray(start)}
    state = ours.init(params)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        if clip:
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        theirs.step()
        updates, state = ours.update({"weight": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["weight"], parameter.detach().numpy(), rtol=2e-5, atol=2e-6)


def test_own_constants_win_over_the_preset() -> None:
    config = OptimizerConfig(preset="released", clip_norm=0.0, learning_rate=1.0)
    optimizer = make_optimizer(config, optax.constant_schedule(1.0))
    params = {"weight": jnp.zeros(3)}
    big, _ = optimizer.update({"weight": jnp.full(3, 1e6)}, optimizer.init(params), params)
    np.testing.assert_allclose(big["weight"], -1.0, rtol=1e-5)


def test_decay_mask_spares_norms_and_the_embedding() -> None:
    leaf = jnp.zeros(1)
    params = {
        "embedding": leaf,
        "head": leaf,
        "final_norm": {"scale": leaf},
        "layers": {"attention_norm": {"scale": leaf}, "mlp": {"up": leaf}},
    }
    assert is_matrix(params) == {
        "embedding": False,
        "head": True,
        "final_norm": {"scale": False},
        "layers": {"attention_norm": {"scale": False}, "mlp": {"up": True}},
    }
