"""Weights that change over the run: what steps are told, in one program, and what a user sees."""

import io
import json
import pathlib

import jax
import numpy as np
import pytest

from im_jax.config import Config, LogConfig, LossConfig, MeshConfig
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.evaluation.heldout import heldout_table
from im_jax.losses.policy import make_policy
from im_jax.mesh import make_mesh
from im_jax.models import last_block
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import MAIN_CLASSES, TokenClass
from im_jax.training.metrics import MetricsWriter
from im_jax.training.overview import _loss, _schedule
from im_jax.training.partition import Frozen
from im_jax.training.reporting import Reporter
from im_jax.training.run import prepare_run, resolve
from im_jax.training.skipping import Skipping
from im_jax.training.state import new_state
from im_jax.training.step import make_train_step
from im_jax.training.told import scheduled_weights, teller
from tests.training.tiny import KEEP_GRADIENT, MODEL, fresh_params, random_examples, rows_of, tiny_config

BATCH = rows_of(random_examples(5, 8), [[0, 1], [2, 3], [4, 5], [6, 7]])


def expected(step: int, first: float, last: float, begins: int, ends: int) -> float:
    """The definition, for a step that is counted from 1."""
    taken = step - 1
    if taken >= ends:
        return last
    return first if taken <= begins else first + (last - first) * (taken - begins) / (ends - begins)


def test_weights_follow_their_definition_and_are_exact_at_both_ends() -> None:
    schedule = "user:0.7..0.3@20%-60%, system:1..0@3-3, assistant:0.1..1.3, stop:2..1@30"
    loss = LossConfig(policy="im", schedule=schedule)
    weights = jax.jit(scheduled_weights(make_policy(loss), 30))
    ramps = {
        TokenClass.USER: (0.7, 0.3, 6, 18),
        TokenClass.SYSTEM: (1.0, 0.0, 3, 3),
        TokenClass.LAST_THOUGHT: (0.1, 1.3, 0, 30),
        TokenClass.LAST_STOP: (2.0, 1.0, 0, 30),
    }
    for step in range(1, 31):
        told = np.asarray(weights(step))
        for token_class, ramp in ramps.items():
            assert told[token_class] == pytest.approx(expected(step, *ramp), rel=1e-6, abs=1e-7)
        assert told[TokenClass.TOOL] == 1 and told[TokenClass.HEADER] == 0
        if step <= 7 or step >= 19:
            assert told[TokenClass.USER] == np.float32(0.7 if step <= 7 else 0.3)


def test_a_run_goes_from_im_to_it_in_one_compilation_and_in_few_rows_of_the_last_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(last_block, "LEAST_PARAMETERS", 0)
    mesh, loss = make_mesh(MeshConfig()), LossConfig(policy="im", schedule="instruction:1..0@50%")
    step = jax.jit(make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=1, rules=ShardingRules()))
    state = new_state(fresh_params(), KEEP_GRADIENT)

    def metrics(config: LossConfig, number: int) -> tuple[float, np.ndarray]:
        tell = teller(scheduled_weights(make_policy(config), 10), seed=0, mesh=mesh)
        found = step(state, Frozen({}), BATCH, tell(number))[1]
        return float(found.loss), np.asarray(found.by_class.measured)

    faded = [metrics(loss, number) for number in range(1, 11)]
    im, it = (metrics(LossConfig(policy=name), 1) for name in ("im", "it"))
    assert faded[0][0] == im[0] and all(loss == it[0] for loss, _ in faded[5:])
    assert len({loss for loss, _ in faded}) == 6
    for number, (_, measured) in enumerate(faded):
        np.testing.assert_array_equal(measured, (im if number < 5 else it)[1])
    assert step._cache_size() == 1


def test_a_step_at_which_nothing_weighs_anything_is_refused() -> None:
    policy = make_policy(LossConfig(schedule="output:0..1@20-30"))
    with pytest.raises(ConfigError, match=r"at step 1 of 40 every token class has weight 0; let one stay"):
        scheduled_weights(policy, 40)
    policy = make_policy(LossConfig(schedule="user:1..0@10, output:0..1@20-30"))
    with pytest.raises(ConfigError, match="at step 11 of 40 every token class has weight 0"):
        scheduled_weights(policy, 40)
    scheduled_weights(make_policy(LossConfig(schedule="user:1..0@21, output:0..1@20-30")), 40)


def shown(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_prepared_run_knows_its_schedule_and_shows_it() -> None:
    config = tiny_config()
    config.loss.policy, config.loss.schedule = "it", "user:1..0@50%, assistant:0.5..1@2"
    run = prepare_run(resolve(config))
    user, assistant = TokenClass.USER, TokenClass.ASSISTANT
    told = [run.told(step).class_weights for step in range(1, 7)]
    assert [float(each[user]) for each in told] == pytest.approx([1, 2 / 3, 1 / 3, 0, 0, 0])
    assert [float(each[assistant]) for each in told] == pytest.approx([0.5, 0.75, 1, 1, 1, 1])

    text = shown(_loss(run))
    assert "1..0" in text and "0.5..1" in text
    assert dict(_schedule(run)) == {
        "user": "1 up to step 1, 0 from step 4",
        "assistant": "0.5 up to step 1, 1 from step 3",
    }
    counts = run.data.report.tokens
    trained = sum(int(counts[c]) for c in TokenClass if c.main.label in ("user", "assistant", "stop"))
    assert f"{trained:,}" in text, "what carries loss at any time"

    entry = {f"nll/{c.label}": 1.0 for c in MAIN_CLASSES} | {f"tokens/{c.label}": 1 for c in MAIN_CLASSES}
    table = shown(heldout_table(entry | {"loss": 1.0}, run.policy))
    assert "weight 1..0" in table and "by the weights at the end of loss.schedule" in table

    config.loss.schedule = "user:1..0@7"
    with pytest.raises(ConfigError, match=r"user:1\.\.0@7 ends after 7 steps, but the run has 6"):
        prepare_run(resolve(config))


def test_metrics_have_the_weights_that_change(tmp_path: pathlib.Path) -> None:
    loss = LossConfig(policy="im", schedule="instruction:1..0@2")
    policy = make_policy(loss)
    step = jax.jit(make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=1, rules=ShardingRules()))
    state = new_state(fresh_params(), KEEP_GRADIENT)
    tell = teller(scheduled_weights(policy, 3), seed=0, mesh=make_mesh(MeshConfig()))
    log = Config(log=LogConfig(tensorboard=False))
    console, sizes = Console(quiet=True), {"flops_per_token": 1, "peak_flops": 1.0, "vocab_size": 320}
    steps = {"learning_rates": [0.1] * 3, "skipping": Skipping(log.train)}
    with (
        MetricsWriter(tmp_path, log, from_step=0, say=print) as writer,
        Reporter(console, writer, 0, 3, 1, changing=policy.changing(), **sizes, **steps) as reporter,  # type: ignore[arg-type]
    ):
        for number in (1, 2, 3):
            told = tell(number)
            _, metrics = step(state, Frozen({}), BATCH, told)
            reporter.step(number, metrics, told.class_weights)
        reporter.flush()
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for label in ("system", "user", "tool"):
        assert [entry[f"weight/{label}"] for entry in entries] == [1.0, 0.5, 0.0]
    assert {name for name in entries[0] if name.startswith("weight/")} == {
        "weight/system",
        "weight/user",
        "weight/tool",
    }
    assert entries[0]["nll/user"] > 0 and "nll/user" not in entries[2]
