"""Which runs a sweep has, in which order, and which of two configurations are the same run."""

from pathlib import Path
from typing import Any

import pytest

from im_jax.config import config_hash, with_overrides
from im_jax.errors import ConfigError
from im_jax.sweeps.cells import expand, run_named
from im_jax.sweeps.charts import file_name
from im_jax.sweeps.definition import over
from tests.sweeps.small import small_sweep
from tests.training.tiny import tiny_config


def test_every_combination_runs_once_before_the_next_seed() -> None:
    cells = expand(small_sweep())
    assert [cell.name for cell in cells] == [
        "policy=im, examples=40, seed=0",
        "policy=im, examples=80, seed=0",
        "policy=it, examples=40, seed=0",
        "policy=it, examples=80, seed=0",
        "policy=im, examples=40, seed=1",
        "policy=im, examples=80, seed=1",
        "policy=it, examples=40, seed=1",
        "policy=it, examples=80, seed=1",
    ]
    assert [(c.config.loss.policy, c.config.data.num_generated, c.config.seed) for c in cells[2:5]] == [
        ("it", 48, 0),
        ("it", 88, 0),
        ("im", 48, 1),
    ]
    assert len({cell.hash for cell in cells}) == 8


def test_cells_share_everything_that_no_axis_sets_and_leave_the_base_alone() -> None:
    sweep = small_sweep()
    before = with_overrides(sweep.base, {})
    for cell in expand(sweep):
        same = {"loss.policy": "im", "data.num_generated": 64, "seed": 0}
        assert with_overrides(cell.config, same) == before
        assert cell.config.model is not sweep.base.model
    assert sweep.base == before


def test_seeds_set_the_fields_that_the_sweep_names() -> None:
    configs = [cell.config for cell in expand(small_sweep(seeds=(3, 5), seed_fields=("seed", "data.seed")))]
    assert [(c.seed, c.data.seed) for c in configs] == [(3, 3)] * 4 + [(5, 5)] * 4


def test_a_filter_leaves_combinations_out() -> None:
    sweep = small_sweep(
        where=lambda labels: labels["policy"] == "im" or labels["examples"] == "80", seeds=(0,)
    )
    assert [tuple(c.labels.values()) for c in expand(sweep)] == [("im", "40"), ("im", "80"), ("it", "80")]


def test_an_axis_over_one_field_is_labelled_by_its_values() -> None:
    assert over("optimizer.learning_rate", 1e-3, 2.0) == {
        "0.001": {"optimizer.learning_rate": 1e-3},
        "2.0": {"optimizer.learning_rate": 2.0},
    }


def test_no_axis_at_all_is_one_configuration_with_every_seed() -> None:
    assert [cell.name for cell in expand(small_sweep(axes={}))] == ["seed=0", "seed=1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"data.seed": 1},
        {"data.num_generated": 65},
        {"data.path": "other.jsonl"},
        {"loss.weights.user": 0.5},
        {"optimizer.learning_rate": 0.0030001},
        {"train.steps": 7},
        {"eval.num_examples": 9},
        {"model.compute_dtype": "bfloat16"},
    ],
)
def test_hash_changes_with_what_decides_results(changes: dict[str, Any]) -> None:
    assert config_hash(with_overrides(tiny_config(), changes)) != config_hash(tiny_config())


@pytest.mark.parametrize(
    "changes",
    [
        {"log.every": 7, "log.tensorboard": True},
        {"checkpoint.every": 1, "checkpoint.keep": 9},
        {"data.workers": 4},
        {"data.max_lost_fraction": 0.5},
        {"model.remat": "full"},
        {"train.accumulate": 2, "eval.batch_size": 2},
        {"mesh.tensor": 2},
        {"optimizer.clip_norm": 1},
    ],
)
def test_hash_stays_with_what_decides_nothing(changes: dict[str, Any]) -> None:
    assert config_hash(with_overrides(tiny_config(), changes)) == config_hash(tiny_config())


def test_directories_are_readable_and_found_again_under_new_labels(tmp_path: Path) -> None:
    cell = expand(small_sweep())[0]
    directory = cell.directory(tmp_path)
    assert directory == tmp_path / "runs" / f"im-40-seed0-{cell.hash}"
    directory.mkdir(parents=True)
    renamed = small_sweep(
        axes={"loss": {"on all": {"loss.policy": "im"}}, "size": {"small": {"data.num_generated": 48}}}
    )
    assert expand(renamed)[0].directory(tmp_path) == directory
    odd = small_sweep(axes={"path": {"a/b c": {"data.path": "a/b c"}}})
    assert expand(odd)[0].directory(tmp_path).name.startswith("a_b_c-seed0-")


@pytest.mark.parametrize("label", ["x" * 300, "数" * 300, "👩‍👧" * 200])
def test_long_labels_of_any_script_are_names_that_a_file_system_takes(label: str, tmp_path: Path) -> None:
    sweep = small_sweep(axes={"policy": {label: {"loss.policy": "im"}, label + "2": {"loss.policy": "it"}}})
    directories = {cell.directory(tmp_path) for cell in expand(sweep)}
    assert len(directories) == 4
    for directory in directories:
        directory.mkdir(parents=True)
    (tmp_path / file_name(label)).touch()


def test_one_run_is_found_by_its_labels_with_the_first_seed() -> None:
    sweep = small_sweep(seeds=(3, 5))
    cell = run_named(sweep, "it-40")
    assert (cell.labels, cell.seed) == ({"policy": "it", "examples": "40"}, 3)
    assert cell.hash in {other.hash for other in expand(sweep)}
    with pytest.raises(
        ConfigError, match=r"--run=it-41: .* no such run; did you mean it-40\?; runs are im-40,"
    ):
        run_named(sweep, "it-41")
