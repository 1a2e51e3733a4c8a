"""Numbers that are no longer numbers: noticed before they are saved, explained, and a way on from them."""

import io
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import Config
from im_jax.console import Console
from im_jax.data.pipeline import rows_of_step, train_iterator
from im_jax.errors import CheckpointError, ConfigError, TrainingError
from im_jax.models import decoder
from im_jax.training import first_weights, loop
from im_jax.training import run as runs
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.health import NotFiniteError, far_from_guessing, not_finite, require_finite_state
from im_jax.training.saved import SavedModel
from im_jax.training.start import train
from tests.training.tiny import tiny_config

QUIET = Console(quiet=True)


def bursting() -> Config:
    """A run whose parameters grow beyond all numbers after two good saves."""
    config = tiny_config()
    config.optimizer.clip_norm, config.optimizer.warmup_steps, config.optimizer.schedule = 0.0, 4, "constant"
    config.optimizer.learning_rate, config.checkpoint.every, config.train.steps = 1e30, 1, 8
    return config


def test_message_names_examples_and_the_way_on_which_leads_on(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as stopped:
        train(bursting(), tmp_path, QUIET)
    error = stopped.value
    found, examples, _, way, _ = error.message, *error.details
    step = int(found.removeprefix("step ").partition(":")[0])
    assert f"step {step} was computed from the examples generated" in examples
    latest = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert all(
        np.isfinite(x).all() for x in jax.tree.leaves(SavedModel(tmp_path / "checkpoints").params(None))
    )
    if latest == step - 1:
        assert f"{tmp_path / 'checkpoints' / str(latest)} led to it: delete it" in way
    else:
        assert f"checkpoint {latest} is good: the same command goes on from it" in way
    assert "--config.checkpoint.allow_changed=optimizer and a lower --config.optimizer.learning_rate" in way

    calmer = bursting()
    calmer.optimizer.learning_rate, calmer.optimizer.clip_norm, calmer.train.steps = 1e-3, 1.0, 5
    with pytest.raises(ConfigError, match=r"another configuration.*optimizer\.learning_rate"):
        train(calmer, tmp_path, QUIET)
    calmer.checkpoint.allow_changed = "optimizer"
    calmer.loss.policy = "it"
    with pytest.raises(ConfigError, match=r"another configuration.*loss\.policy"):
        train(calmer, tmp_path, QUIET)
    calmer.loss.policy = "im"
    if latest == step - 1:
        return  # nothing good to go on from is left to be tried here
    assert train(calmer, tmp_path, QUIET)["resumed_from"] == latest


def test_moments_go_on_under_an_optimizer_that_clips(tmp_path: Path) -> None:
    config = tiny_config()
    config.optimizer.clip_norm, config.train.steps = 0.0, 2
    train(config, tmp_path, QUIET)
    config.optimizer.clip_norm, config.optimizer.learning_rate = 1.0, 1e-4
    config.checkpoint.allow_changed, config.train.steps = "optimizer", 3
    run = runs.prepare_run(runs.resolve(config))
    with jax.set_mesh(run.mesh), Checkpoints(tmp_path / "checkpoints", config.checkpoint) as checkpoints:
        state = run.restored_state(checkpoints)
    assert jax.tree.structure(state) == jax.tree.structure(run.abstract_state())
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)]
    by_name = dict(zip(names, jax.tree.leaves(state.opt_state), strict=True))
    assert all(int(leaf) == 2 for name, leaf in by_name.items() if name.endswith("count"))
    assert any(np.any(leaf) for name, leaf in by_name.items() if ".mu" in name)
    assert train(config, tmp_path, QUIET)["resumed_from"] == 2


def test_ruined_update_is_found_in_any_leaf_before_it_is_saved() -> None:
    good = {"w": jnp.ones((2, 3)), "count": jnp.int32(3), "layers": [jnp.zeros(2)]}
    require_finite_state(5, good)
    bad = good | {"layers": [jnp.array([0.0, jnp.inf])]}
    assert not_finite(good) == "" and not_finite(bad) == "layers.0"
    with pytest.raises(
        NotFiniteError, match=r"step 5: its update left numbers that are not finite in layers\.0"
    ):
        require_finite_state(5, bad)


def test_weights_that_are_damaged_in_the_file_are_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    run = runs.prepare_run(runs.resolve(config))
    with jax.set_mesh(run.mesh):
        params = decoder.init_params(run.config.model, jax.random.key(0))
        damaged = jax.tree.map(lambda leaf: leaf.at[..., 0].set(jnp.nan), params)
        monkeypatch.setattr(first_weights, "load_pretrained", lambda *_: damaged)
        run.config.model.path = "some/model"
        with pytest.raises(
            CheckpointError, match=r"model\.path=some/model: .* and \d+ more hold values that are"
        ):
            run.first_state()


def test_first_loss_that_is_worse_than_guessing_is_said(tmp_path: Path) -> None:
    assert far_from_guessing(25.9, 512) and not far_from_guessing(6.3, 512)
    shown = io.StringIO()
    config = tiny_config(vocab_size=320)
    config.train.steps, config.checkpoint.every = 1, 0
    run = runs.prepare_run(runs.resolve(config))

    class Confused(runs.Run):
        def first_state(self) -> runs.TrainState:
            state = super().first_state()
            return state._replace(params=jax.tree.map(lambda leaf: leaf * 40, state.params))

    confused = Confused(**{name: getattr(run, name) for name in run.__dataclass_fields__})
    loop.train_run(confused, tmp_path / "far", Console(file=shown))
    assert "warning: the first loss is " in shown.getvalue()
    assert (
        "guessing among" in shown.getvalue() and "tokenizer is probably not the model's" in shown.getvalue()
    )
    shown = io.StringIO()
    loop.train_run(run, tmp_path / "near", Console(file=shown))
    assert "warning" not in shown.getvalue()
    assert json.loads((tmp_path / "near" / "metrics.jsonl").read_text().splitlines()[0])["loss"] < 7


def test_rows_of_a_step_are_those_that_it_was_given() -> None:
    run = runs.prepare_run(runs.resolve(tiny_config()))
    rows = run.data.train_rows
    batches = train_iterator(rows, seed=3, batch_size=4, local=range(4), workers=0)
    for step in (1, 2, 3):
        numbers = rows_of_step(rows, seed=3, batch_size=4, step=step)
        np.testing.assert_array_equal(next(batches).tokens, rows.batch(numbers).tokens)
    ids = [name for number in range(len(rows)) for name in rows.ids(number)]
    assert len(ids) == len(set(ids)) == len(run.data.train)
