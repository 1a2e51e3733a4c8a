"""Mistakes in a sweep: one line that names the axis, the point and the field, before anything runs."""

import math
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import with_overrides
from im_jax.errors import ConfigError
from im_jax.sweeps.cells import expand
from im_jax.sweeps.checks import check_overrides, checked_cells
from im_jax.sweeps.definition import Measure, Plot, Profile, Reference, Scale, over
from im_jax.sweeps.loading import load_sweep
from im_jax.sweeps.preparing import check_inputs
from tests.conftest import REPOSITORY
from tests.sweeps.small import LOSS, small_sweep, unchecked

SWEEPS = sorted((REPOSITORY / "configs" / "sweeps").glob("*.py"))
LOSSES = Profile("losses by step", "step", {"1": "loss/1", "10": "loss/10"})
POLICIES = over("loss.policy", "im", "it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"axes": {"policy": over("loss.polcy", "im")}},
            "axis policy, point im: loss.polcy: no such field; did you mean loss.policy?",
        ),
        (
            {"axes": {"policy": {"im": {"policy": "im"}}}},
            "axis policy, point im: policy: no such field; did you mean loss.policy?",
        ),
        (
            {"axes": {"policy": {"im": {"log": "im"}}}},
            "axis policy, point im: log is a group; set one of its fields: log.every, log.tensorboard, log.wandb_project",
        ),
        (
            {"axes": {"policy": over("loss.policy", "im", "imm")}},
            "axis policy, point imm: loss.policy='imm' is not one of it, im, it_released, im_released, all, last_turn; did you mean im?",
        ),
        (
            {"axes": {"policy": POLICIES, "length": over("train.steps", 5, "6")}},
            "axis length, point 6: train.steps='6' is str; it must be int",
        ),
        (
            {"axes": {"policy": POLICIES, "rate": over("optimizer.learning_rate", -1.0)}},
            "axis rate, point -1.0: optimizer.learning_rate=-1.0 must be in (0, inf)",
        ),
        (
            {"axes": {"batch": over("train.batch_size", 4, 6), "cut": over("train.accumulate", 2, 4)}},
            "axis batch, point 6; axis cut, point 4: train.batch_size=6 is not divisible by train.accumulate=4",
        ),
        (
            {"axes": {"policy": POLICIES, "loss": over("loss.policy", "all")}},
            "axis loss, point all: loss.policy is set by axis policy already; one must decide it",
        ),
        (
            {"axes": {"policy": over("seed", 1, 2)}},
            "axis policy, point 1: seed is set by the sweep's seed already; one must decide it",
        ),
        ({"axes": {"seed": over("data.seed", 1, 2)}}, "axis seed: seeds are no axis; set Sweep.seeds"),
        ({"axes": {"policy": {}}}, "axis policy: give its points as {label: {field: value}}, or by over()"),
        (
            {"axes": {"policy": {"im": "im"}}},
            "axis policy, point im: a point is a text and a mapping, as 'im': {'loss.policy': 'im'}",
        ),
        ({"seeds": ()}, "seeds=(): give one or more different whole numbers"),
        ({"seeds": (1, 1)}, "seeds=(1, 1): give one or more different whole numbers"),
        ({"seeds": (1.0,)}, "seeds=(1.0,): give one or more different whole numbers"),
        ({"seeds": (-1,)}, "policy=im, examples=40, seed=-1: seed=-1 must be 0 or more"),
        ({"seeds": 3}, "seeds=3 is int; it must be Sequence"),
        ({"plot": "policy"}, "plot='policy' is str; it must be Plot or None"),
        ({"measures": ["seconds"]}, "measures holds 'seconds', which is str; it must be Measure"),
        ({"seed_fields": ()}, "seed_fields is empty; name what a seed sets, such as ('seed',)"),
        ({"seed_fields": ("sed",)}, "seed_fields: sed: no such field; did you mean seed"),
        ({"measures": ()}, "measures are none: give one or more, each once"),
        ({"measures": (LOSS, LOSS)}, "measures are heldout.nll/assistant, heldout.nll/assistant: give one or more, each once"),
        ({"plot": Plot(x="example")}, "plot.x='example' is no axis; did you mean examples?"),
        ({"plot": Plot(x="examples", series="p")}, "plot.series='p' is no axis; choose from policy, examples"),
        ({"plot": Plot(x="examples", series="examples")}, "plot.x and plot.series are both examples; choose two axes"),
        (
            {"plot": Plot(x="policy", x_scale=Scale.LOG)},
            "plot.x_scale is log, but not every label of axis policy is a number above 0",
        ),
        (
            {"plot": Plot(x="examples", references=[Reference("Table 2", "loss", {})])},
            "reference 'Table 2': 'loss' is no measure and no profile; choose from heldout.nll/assistant",
        ),
        (
            {"plot": Plot(x="examples", series="policy", references=[Reference("Table 2", LOSS.name, {}, "all")])},
            "reference 'Table 2': series 'all' is no point; choose from im, it",
        ),
        (
            {"plot": Plot(x="policy", references=[Reference("Table 2", LOSS.name, {"all": 1.0})])},
            "reference 'Table 2': 'all' is no place on the axis policy",
        ),
        ({"plot": unchecked(Plot(x="policy"), x_measure="seconds")}, "plot.x_measure='seconds' is str; it must be Measure or None"),
        (
            {"plot": Plot(x="policy", x_measure=Measure("seconds"), references=[Reference("Table 2", LOSS.name, {"im": 1.0})])},
            "reference 'Table 2': 'im' is no place on the axis policy, which is measured; give a number",
        ),
        (
            {"plot": Plot(x="policy", series="examples", references=[Reference("Table 2", LOSS.name, {}, panel={"policy": "im"})])},
            "reference 'Table 2': panel 'policy' is no axis that has panels; choose from none",
        ),
        (
            {"plot": Plot(x="policy", references=[Reference("Table 2", LOSS.name, {}, panel={"examples": "400"})])},
            "reference 'Table 2': panel examples='400' is no point; did you mean 40?",
        ),
        ({"profiles": ["seconds"]}, "profiles holds 'seconds', which is str; it must be Profile"),
        ({"measures": [Measure("loss", bounds=(1, 0))]}, "measure 'loss': bounds=(1, 0): give the lowest and the highest number"),
        ({"measures": [unchecked(Measure(LOSS.name), bounds=0)]}, "measure 'heldout.nll/assistant': bounds=0: give the lowest and the highest number"),
        ({"profiles": [Profile("loss", "step", {"1": "a"}, bounds=(math.nan, 1))]}, "profile 'loss': bounds=(nan, 1): give the lowest"),
        ({"profiles": [Profile("", "step", {"1": "a"})]}, "profile '' with x='step': give it a title, and a name of its x axis"),
        ({"profiles": [Profile("loss", "step", {})]}, "profile 'loss': give its points as {label: name in summary.json}"),
        (
            {"profiles": [unchecked(Profile("loss", "step", {}), points={1: "loss/1"})]},
            "profile 'loss', point 1: a point is two texts, as '5': 'rewrites.unseen/occurrences_5'",
        ),
        (
            {"profiles": [Profile("loss", "step", {"0": "loss/0"}, x_scale=Scale.LOG)]},
            "profile 'loss': x_scale is log, but not every label of step is a number above 0",
        ),
        (
            {"measures": [LOSS, Measure("heldout.nll_assistant")]},
            "measure 'heldout.nll_assistant': its figure would be heldout.nll_assistant.png, as that of measure 'heldout.nll/assistant'",
        ),
        (
            {"profiles": [Profile("heldout.nll_assistant", "step", {"0": "loss/0"})]},
            "profile 'heldout.nll_assistant': its figure would be heldout.nll_assistant.png, as that of measure 'heldout.nll/assistant'; rename it",
        ),
        (
            {"profiles": [LOSSES], "plot": Plot(x="policy", references=[Reference("Table 2", "losses by stp", {})])},
            "reference 'Table 2': 'losses by stp' is no measure and no profile; did you mean losses by step?",
        ),
        (
            {"profiles": [LOSSES], "plot": Plot(x="policy", references=[Reference("Table 2", "losses by step", {"1": 2.0, "last": 1.0})])},
            "reference 'Table 2': 'last' is no place on the axis step",
        ),
        (
            {"profiles": [LOSSES], "plot": Plot(x="policy", references=[Reference("Table 2", "losses by step", {}, series="im")])},
            "reference 'Table 2': series 'im' is no point; choose from policy=im, examples=40, policy=im, examples=80",
        ),
        ({"where": lambda _: False}, "where() is true for no combination of points; there is nothing to run"),
        (
            {"axes": {"every": over("log.every", 1, 2)}, "plot": None},
            "every=1, seed=0 and every=2, seed=0 are the same run; make them differ in a field that decides results, or leave one out by where()",
        ),
        (
            {"axes": {"cluster": over("mesh.distributed", "require")}, "plot": None},
            "axis cluster, point require: mesh.distributed=require: a run of a sweep is one process; set it to off",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    changes = {"plot": None, **changes} if "axes" in changes else changes
    with pytest.raises(ConfigError) as caught:
        checked_cells(small_sweep(**changes))
    assert str(caught.value).startswith(message)


def test_reference_between_the_points_of_a_numeric_axis_is_fine() -> None:
    references = [Reference("Table 2", LOSS.name, {"60": 1.0}, "im")]
    assert checked_cells(small_sweep(plot=Plot(x="examples", series="policy", references=references)))


def test_where_x_is_measured_its_labels_are_no_places() -> None:
    reference = Reference("Table 2", LOSS.name, {"12.5": 1.0})
    plot = Plot(x="policy", x_scale=Scale.LOG, x_measure=Measure("seconds"), references=[reference])
    assert checked_cells(small_sweep(plot=plot))


def test_references_of_a_profile_are_at_its_own_labels_for_its_own_lines() -> None:
    profile = {"profiles": [LOSSES]}
    reference = Reference("Table 2", LOSSES.title, {"5": 1.0}, "it", panel={"examples": "40"})
    plot = Plot(x="examples", series="policy", references=[reference])
    assert checked_cells(small_sweep(plot=plot, **profile))
    together = Reference("Table 2", LOSSES.title, {"1": 1.0}, "policy=it, examples=40")
    assert checked_cells(small_sweep(plot=Plot(x="examples", references=[together]), **profile))


@pytest.mark.parametrize(
    ("field", "value", "owner"),
    [("loss.policy", "all", "axis policy"), ("seed", 4, "the sweep's seed")],
)
def test_a_flag_that_no_run_would_heed_is_refused(field: str, value: Any, owner: str) -> None:
    sweep = small_sweep()
    with pytest.raises(ConfigError) as caught:
        check_overrides(sweep, with_overrides(sweep.base, {field: value}))
    assert str(caught.value) == f"--config.{field} has no effect: {owner} sets it; leave it out"
    check_overrides(sweep, with_overrides(sweep.base, {"train.steps": 3}))


@pytest.mark.parametrize(
    ("body", "tier", "message"),
    [
        ("x = 1\n", None, " has no get_sweep(); files in configs/sweeps/ do, others are for im_jax.train without --run"),
        ("def get_sweep():\n    return 3\n", None, ": get_sweep() must return an im_jax.sweeps.definition.Sweep, not int"),
        ("def get_sweep():\n    return nothing\n", None, ":2: NameError: name 'nothing' is not defined"),
        ("def get_sweep():\n    return 3\n", "cpu", "--tier=cpu: PATH has no tiers; leave it out"),
        ("TIERS = ('smoke', 'cpu')\ndef get_sweep(tier='cpu'):\n    return 3\n", "cpuu", "--tier=cpuu: PATH has smoke, cpu"),
        ("TIERS = ('smoke',)\ndef get_sweep():\n    return 3\n", None, ": a file with tiers has both TIERS = (NAME, ...) and get_sweep(tier: str = NAME)"),
    ],
)  # fmt: skip
def test_broken_file_is_one_line(tmp_path: Path, body: str, tier: str | None, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(body)
    with pytest.raises(ConfigError) as caught:
        load_sweep(path, tier)
    expected = message.replace("PATH", str(path)) if "PATH" in message else f"{path}{message}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_tier_of_a_shipped_sweep_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tiers = [tier for tier in ("smoke", "cpu", "full") if f'"{tier}"' in text]
    for tier in tiers or [None]:
        cells = checked_cells(load_sweep(path, tier))
        assert len(cells) == len({cell.hash for cell in cells})


def test_measures_are_named_by_their_titles_with_unit_and_direction() -> None:
    assert LOSS.heading == "loss of answers (nats, lower is better)"
    assert Measure("seconds").heading == "seconds"


def test_a_mixture_needs_no_path() -> None:
    sweep = small_sweep()
    sweep.base.data.source, sweep.base.data.path = "jsonl", ""
    sweep.base.data.mixture = "a = a.jsonl @ all"
    check_inputs(expand(sweep))
    sweep.base.data.path = "nowhere.jsonl"
    with pytest.raises(ConfigError, match=r"there is no file 'nowhere\.jsonl'"):
        check_inputs(expand(sweep))
