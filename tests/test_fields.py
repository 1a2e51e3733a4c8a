"""Fields of a configuration: what is declared once is known everywhere."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from im_jax.command_line import help
from im_jax.command_line.arguments import sort, with_fields
from im_jax.config import (
    Config,
    Decides,
    TrainConfig,
    When,
    at_least,
    config_hash,
    difference,
    flatten,
    group,
    records,
    setting,
    to_json,
    with_overrides,
    without_effect,
)
from im_jax.config.checks import check_fields
from im_jax.config.record import ABOVE_ZERO, BELOW_ONE, SHARE, Bounds
from im_jax.config.rewrites import FAMILIES
from im_jax.config.table import table
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.families import source_letters
from im_jax.training.resume import check_same_run


@dataclasses.dataclass
class WithFields(TrainConfig):
    """`train` with two fields more, as a change to its file would add them."""

    warmth: int | None = setting(None, "How warm it is.", bounds=at_least(3), when=When("data.path", ("",)))
    hurry: str = setting("none", "How fast.", choices=("none", "great"), decides=Decides.SPEED)


@dataclasses.dataclass
class Extended(Config):
    train: WithFields = group(WithFields)


def extended(**fields: Any) -> Extended:
    return Extended(train=WithFields(steps=1, **fields))


PLAIN = Config(train=TrainConfig(steps=1))


def test_a_new_field_is_checked() -> None:
    check_fields(extended(warmth=3, hurry="great"))
    with pytest.raises(ConfigError, match=r"train\.warmth=2 must be 3 or more"):
        check_fields(extended(warmth=2))
    with pytest.raises(ConfigError, match=r"train\.warmth='3' is str; it must be int or unset"):
        check_fields(extended(warmth="3"))
    with pytest.raises(ConfigError, match=r"hurry='Great' is not one of none, great; did you mean great\?"):
        check_fields(extended(hurry="Great"))


def test_a_new_field_is_a_flag_and_can_be_unset_by_one() -> None:
    words = ["", "--config.train.warmth=4", "--config.train.hurry", "great"]
    config = with_fields(extended(warmth=9), sort(words, Extended).fields)
    assert (config.train.warmth, config.train.hurry) == (4, "great")
    words = ["", "--config.train.warmth=none", "--config.train.hurry=none"]
    config = with_fields(config, sort(words, Extended).fields)
    assert (config.train.warmth, config.train.hurry) == (None, "none")
    with pytest.raises(
        ConfigError, match=r"train\.warmht: no such field; did you mean config\.train\.warmth"
    ):
        sort(["", "--config.train.warmht=4"], Extended)
    with pytest.raises(ConfigError, match=r"--config\.train\.warmth=hot must be a whole number or none"):
        with_fields(config, {"train.warmth": "hot"})


def test_a_new_field_is_in_the_help() -> None:
    assert help.of_fields("train", Extended).endswith(
        "--config.train.warmth=none\n"
        "    whole number, 3 or more or none; decides the result\n"
        "    How warm it is. Only with data.path=.\n\n"
        "--config.train.hurry=none\n"
        "    none, great; decides the speed\n"
        "    How fast."
    )


def test_a_new_field_is_in_the_table_of_the_documentation() -> None:
    rows = table(records(Extended)).splitlines()
    assert (
        "| `train.warmth` | none | whole number, 3 or more or none | result | How warm it is. With `data.path=`. |"
        in rows
    )
    assert "| `train.hurry` | `none` | `none`, `great` | speed | How fast. |" in rows


def resumed(config: Config) -> str:
    """What is shown when a run from before there were the two fields goes on with a configuration."""
    output = io.StringIO()
    check_same_run(flatten(PLAIN), config, Path("run"), Console(file=output, width=200))
    return output.getvalue()


def test_a_new_field_has_its_rule_for_resuming() -> None:
    assert resumed(extended()) == ""
    assert resumed(extended(hurry="great")) == "changed since the checkpoint: train.hurry=great (was none)\n"
    with pytest.raises(ConfigError, match=r"another --workdir .* --config\.train\.warmth=none, not 4"):
        resumed(extended(warmth=4))


def test_a_new_field_leaves_the_hash_of_every_run_until_it_is_set() -> None:
    assert config_hash(extended()) == config_hash(PLAIN)
    assert config_hash(extended(warmth=4)) != config_hash(PLAIN)
    assert config_hash(extended(hurry="great")) == config_hash(PLAIN)


def test_a_new_field_tells_where_it_has_no_effect() -> None:
    field = records(Extended)["train.warmth"]
    assert without_effect(field, extended()) == ""
    elsewhere = with_overrides(extended(), {"data.path": "a.jsonl"})
    assert without_effect(field, elsewhere) == "it needs data.path=, not data.path=a.jsonl"


def test_every_field_says_what_it_means_in_a_line() -> None:
    for name, record in records(Config).items():
        assert record.help.endswith("."), name
        assert not set("\n|") & set(record.help), name
        assert len(record.help) < 200, name


def test_every_default_is_a_value_that_its_field_can_have() -> None:
    check_fields(Config())


def test_what_holds_for_a_group_holds_for_its_fields_but_where_they_say_otherwise() -> None:
    known = records(Config)
    of_runs = [known[name] for name in known if name.startswith(("mesh.", "log.", "checkpoint."))]
    assert {record.decides for record in of_runs} == {Decides.PLACE}
    of_rewrites = [known[name] for name in known if name.startswith("data.rewrites.")]
    assert {str(record.when) for record in of_rewrites} == {"data.source=rewrites"}
    assert known["data.rewrites.eval_batch_size"].decides is Decides.SPEED
    assert known["data.rewrites.num_rules"].decides is Decides.RESULT
    scaled = with_overrides(Config(), {"model.path": "m"})
    reason = "the checkpoint at model.path=m decides it"
    assert without_effect(known["model.rope_scaling.factor"], scaled) == reason


def test_differences_from_the_defaults_are_all_that_is_told() -> None:
    assert difference(Config()) == {}
    changed = with_overrides(
        Config(), {"optimizer.clip_norm": 1, "train.epochs": 0, "loss.policy": "im", "seed": 0}
    )
    assert difference(changed) == {"loss.policy": "im", "optimizer.clip_norm": 1.0}
    assert with_overrides(Config(), difference(changed)) == changed
    assert '"clip_norm": 1' in to_json(changed)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "text"),
    [
        (at_least(1), [1, 2**31 - 1], [0, 2**31], "1 or more"),
        (at_least(1, 1024), [1, 1024], [0, 1025], "1 to 1024"),
        (ABOVE_ZERO, [1e-9, 3e38], [0.0, -1.0, float("inf"), float("nan"), 1e39], "above 0"),
        (SHARE, [0.0, 1.0], [-1e-9, 1.0001, float("nan")], "0 to 1"),
        (BELOW_ONE, [0.0, 0.999], [1.0], "0 to below 1"),
    ],
)
def test_bounds_hold_what_they_say(
    bounds: Bounds, inside: list[float], outside: list[float], text: str
) -> None:
    assert all(map(bounds.hold, inside)) and not any(map(bounds.hold, outside))
    assert str(bounds) == text


def test_every_family_of_strings_can_be_made() -> None:
    for family in FAMILIES:
        assert len(source_letters(family, 6, 1)) == 6
