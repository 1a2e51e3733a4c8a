"""Runs that train an adapter, or some of the parameters: what moves, what it costs, and that they go on."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im_jax.config import Config, LoraConfig, LossConfig, OptimizerConfig
from im_jax.config.loss import KLConfig
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy
from im_jax.models import decoder, huggingface
from im_jax.models.adapters import lora
from im_jax.models.files.layout import by_path
from im_jax.models.sharding import ShardingRules
from im_jax.opening import open_run
from im_jax.saved_config import config_of_run
from im_jax.training import run as runs
from im_jax.training.digest import digest
from im_jax.training.optimizer import make_optimizer
from im_jax.training.partition import Frozen
from im_jax.training.start import train
from im_jax.training.state import new_state
from im_jax.training.step import make_train_step
from im_jax.training.told import Told
from im_jax.training.trainable import trained_parts
from tests.subprocess_devices import run_on_devices
from tests.training.test_train import QUIET
from tests.training.tiny import (
    ADAPTED,
    KEEP_GRADIENT,
    MODEL,
    adapted_params,
    random_examples,
    rows_of,
    tiny_config,
)

PACKED = rows_of(random_examples(8, 8), [[0, 1], [2, 3], [4, 5], [6, 7]])
PADDED = rows_of(random_examples(8, 8), [[i] for i in range(8)])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model."""
    folder = tmp_path_factory.mktemp("base")
    model = dataclasses.replace(tiny_config().model, vocab_size=258)
    params = jax.jit(lambda key: decoder.init_params(model, key))(jax.random.key(1))
    huggingface.save_params(params, model, folder)
    return folder


def config_on(base: Path, **fields: Any) -> Config:
    config = tiny_config()
    config.model = dataclasses.replace(
        config.model,
        path=str(base),
        vocab_size=None,
        compute_dtype="float32",
        lora=LoraConfig(rank=2, **fields),
    )
    config.tokenizer.path = "bytes"
    config.optimizer = dataclasses.replace(config.optimizer, learning_rate=1e-2, schedule="constant")
    return config


def entries(workdir: Path) -> list[dict[str, Any]]:
    timing = ("tokens_per_second", "step_time", "model_flops_utilisation")
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in timing} for line in lines]


def test_the_base_stays_and_the_optimiser_has_two_numbers_for_each_of_the_adapter(base: Path) -> None:
    config = config_on(base)
    config.model.param_dtype = "bfloat16"
    run = runs.prepare_run(runs.resolve(config))
    before = jax.device_get(run.frozen.rest)
    with jax.set_mesh(run.mesh):
        first = state = run.first_state()
        first = jax.device_get(first.params)
        batches = run.batches()
        for step in range(1, 4):
            state, _ = run.train_step(state, run.frozen, run.put(next(batches)), run.told(step))
    for a, b in zip(*map(jax.tree.leaves, (run.frozen.rest, before)), strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_array_equal(a, b)
    moved = by_path(jax.tree.map(lambda a, b: bool((a != b).any()), first, jax.device_get(state.params)))
    assert moved and all(moved.values()) and all(map(lora.is_adapter, moved))
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    moments = sum(x.nbytes for x in jax.tree.leaves(state.opt_state) if x.ndim)
    assert moments == 2 * sum(x.nbytes for x in jax.tree.leaves(state.params))


def test_everything_at_once_goes_on_as_if_uninterrupted_and_opens_as_it_was(
    base: Path, tmp_path: Path
) -> None:
    """IM, NEFTune, divergence, adapter with dropout, micro-batches."""
    config = config_on(base, targets="q_proj,down_proj", dropout=0.1)
    config.loss = dataclasses.replace(config.loss, policy="im", neftune_alpha=5.0, kl=KLConfig(weight=0.1))
    config.train.accumulate = 2
    train(config, tmp_path / "whole", QUIET)
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=4))
    train(short, tmp_path / "cut", QUIET)
    assert train(config, tmp_path / "cut", QUIET)["resumed_from"] == 4
    whole, cut = (
        [entry for entry in entries(tmp_path / name) if entry["split"] == "train"]
        for name in ("whole", "cut")
    )
    assert cut == whole and whole[-1]["kl"] > 0
    one, other = (by_path(open_run(tmp_path / name).params) for name in ("whole", "cut"))
    for path, x in one.items():
        np.testing.assert_array_equal(x, other[path])
    assert sum(map(lora.is_adapter, one)) == 4


def test_an_adapter_is_asked_with_the_model_it_was_trained_on(base: Path, tmp_path: Path) -> None:
    config = config_on(base)
    config.train.steps = 1
    train(config, tmp_path / "run", QUIET)
    asked = config_of_run(tmp_path / "run")
    assert asked.model.path == str(base)
    asked.model.lora.alpha = 7.0
    with pytest.raises(ConfigError, match=r"was trained with model\.lora\.alpha=32\.0, not 7\.0"):
        open_run(tmp_path / "run", asked)
    asked = config_of_run(tmp_path / "run")
    asked.model.path = str(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"model\.path is .*gone"):
        open_run(tmp_path / "run", asked)


def test_other_weights_under_the_same_path_are_noticed(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    config = config_on(folder)
    config.train.steps = 1
    train(config, tmp_path / "run", QUIET)
    model = dataclasses.replace(tiny_config().model, vocab_size=258)
    huggingface.save_params(decoder.init_params(model, jax.random.key(2)), model, folder)
    config.train.steps = 2
    for ask in (lambda: train(config, tmp_path / "run", QUIET), lambda: open_run(tmp_path / "run")):
        with pytest.raises(
            ConfigError, match=r"the weights at model\.path=.*model are not those that the run"
        ):
            ask()


def test_digests_tell_values_places_and_names_apart() -> None:
    x = jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)
    same = [{"a": x}, {"a": x + 0}]
    others = [{"b": x}, {"a": x.T}, {"a": x[::-1]}, {"a": x.astype(jnp.float32)}, {"a": x.at[1, 2].add(1)}]
    assert len({digest(tree) for tree in same}) == 1
    assert len({digest(tree) for tree in same + others}) == 1 + len(others)


def gradient_of(batch: Any, accumulate: int) -> Any:
    """Of the adapter, held to the model without it, after noise on nothing: rows differ between batches."""
    loss = LossConfig(policy="im", kl=KLConfig(weight=0.5, direction="forward"))
    step = make_train_step(ADAPTED, loss, KEEP_GRADIENT, accumulate=accumulate, rules=ShardingRules())
    table = jnp.asarray(make_policy(loss).table())
    told = Told(table, jax.random.key(0), {"kl": jnp.float32(0.5)})
    adapters, rest = adapted_params()
    after, metrics = jax.jit(step)(new_state(adapters, KEEP_GRADIENT), Frozen(rest, base={}), batch, told)
    return jax.device_get((metrics.loss, metrics.kl, after.opt_state))


def test_packed_is_padded_and_micro_batches_are_one() -> None:
    packed = gradient_of(PACKED, 1)
    assert packed[1] > 1e-3
    for other in (gradient_of(PADDED, 1), gradient_of(PADDED, 4)):
        for a, b in zip(*map(jax.tree.leaves, (other, packed)), strict=True):
            np.testing.assert_allclose(a, b, atol=3e-5 * float(np.abs(b).max()), rtol=0)


def test_eight_devices_train_what_one_does() -> None:
    assert run_on_devices("tests.training.check_sharded_lora", devices=8).count("equal") == 2


def test_the_rate_of_b_is_a_multiple_of_that_of_a() -> None:
    adapters, _ = adapted_params()

    def moves(ratio: float) -> dict[str, Any]:
        optimizer = make_optimizer(OptimizerConfig(lora_b_ratio=ratio), optax.constant_schedule(0.1))
        gradient = jax.tree.map(jnp.ones_like, adapters)
        return by_path(optimizer.update(gradient, optimizer.init(adapters), adapters)[0])

    plain, other = moves(1.0), moves(16.0)
    for path, x in plain.items():
        np.testing.assert_allclose(other[path], x * (16 if path.endswith(lora.B) else 1), rtol=1e-6)


def test_some_of_the_parameters_are_trained_alone_or_beside_an_adapter(base: Path, tmp_path: Path) -> None:
    paths = by_path(decoder.abstract_params(ADAPTED))
    norms = {path for path in paths if path.startswith("layers") and "norm" in path}
    named = trained_parts(MODEL, "layers.*norm*, embedding")
    assert {path for path in by_path(decoder.abstract_params(MODEL)) if named(path)} == norms | {"embedding"}
    beside = trained_parts(ADAPTED, "embedding")
    assert {path for path in paths if beside(path)} == {"embedding"} | set(filter(lora.is_adapter, paths))
    config = config_on(base)
    config.model.lora.rank = 0
    config.train = dataclasses.replace(config.train, trainable="layers.*norm*,final_norm.*", steps=2)
    config.loss.kl.weight = 0.1
    train(config, tmp_path / "run", QUIET)
    opened = by_path(open_run(tmp_path / "run").params)
    run = runs.prepare_run(runs.resolve(config))
    for path, x in by_path(run.frozen.rest).items():
        assert "norm" not in path
        np.testing.assert_array_equal(opened[path], x)
    assert run.frozen.base is not None and all("norm" in path for path in by_path(run.frozen.base))
    assert any(np.any(opened[path] != 1) for path in norms)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("layer.*", r"train\.trainable=layer\.\* names no parameter of this model; it has embedding, "),
        (
            "head",
            r"train\.trainable=head names no parameter of this model; the head is the embedding; it has",
        ),
        ("*lora_a", r"train\.trainable=\*lora_a names no parameter"),
    ],
)
def test_patterns_that_name_nothing_are_refused(patterns: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trained_parts(ADAPTED, patterns)
