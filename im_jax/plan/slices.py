"""A plan for slices, from the command line."""

import copy
import dataclasses
from typing import Any

from absl import flags

from im_jax import command_line
from im_jax import plan as door
from im_jax.activity import on_console
from im_jax.config import Config, records
from im_jax.config.checks import did_you_mean
from im_jax.console import Console, print_json
from im_jax.errors import ConfigError
from im_jax.stores import readable

_SEARCHED = "v5e,v5p,v6e"
"""Chips whose slices are ranked where none are named: those with a known price."""
_GB = 1e9


def main(arguments: command_line.CommandLine) -> int:
    """Plan, show, and say by the exit code whether it fits."""
    names: str = arguments.flag("topology") or (_SEARCHED if arguments.flag("search") else "")
    if not names:
        raise ConfigError("no slice given; set --topology=v5e:8x8, or --search to rank what there is")
    config = _with_model(arguments.config, arguments.flag("model"))
    # Only now: flags have been read, and JAX is slow to import.
    from im_jax.pods import plan, planning, report

    slices = planning.topologies(names, arguments.flag("num_slices"))
    rate, hours = (_positive(arguments, name) for name in ("save_rate", "hours_between_preemptions"))
    assumed = plan.Assumptions(rate * _GB, hours * 3600)
    doing = on_console(Console(stderr=True))
    as_json = arguments.flag("format") == "json"
    if arguments.flag("search"):
        found = planning.search(config, slices, assumed, doing)
        if as_json:
            print_json(report.ranking_as_json(found.plans, found.refused))
        else:
            Console().print(report.ranking(found.plans))
            for name, reason in found.refused:
                Console().print(f"{name}: {reason}")
        return 0 if any(each.compiled.fits for each in found.plans) else 1
    options = {name: bool(arguments.flag(name)) for name in ("code", "trials")}
    plans = [planning.plan_on(config, each, assumed, doing, **options) for each in slices]
    if as_json:
        listed: list[Any] = [each.as_json() for each in plans]
        print_json(listed[0] if len(listed) == 1 else {"plans": listed})
    else:
        for table in (table for each in plans for table in report.tables(each)):
            Console().print(table)
    return 0 if all(each.compiled.fits for each in plans) else 1


def _with_model(config: Config, name: str | None) -> Config:
    """The configuration with the architecture of a named model, so that its files need not be here.

    Raises:
        ConfigError: there is no such model, or none is named and its files are not here.
    """
    from im_jax import validation
    from im_jax.models.presets import ARCHITECTURES

    names = ", ".join(ARCHITECTURES)
    if name is None:
        if config.model.path and not readable(config.model.path).exists():
            raise ConfigError(
                f"model.path={config.model.path} is not here; set --model=NAME to plan without its files: "
                f"{names}"
            )
        return config
    if name not in ARCHITECTURES:
        guess = did_you_mean(name, list(ARCHITECTURES))
        raise ConfigError(f"--model={name}: no such model{guess}; known are {names}")
    known = ARCHITECTURES[name]()
    changed = copy.deepcopy(config)
    architecture = {
        record.name.removeprefix("model."): getattr(known, record.name.removeprefix("model."))
        for record in records(Config).values()
        if record.name.startswith("model.") and record.name.count(".") == 1 and _is_architecture(record.name)
    }
    changed.model = dataclasses.replace(
        changed.model, **architecture, rope_scaling=known.rope_scaling, path="", vocab_size=known.vocab_size
    )
    changed.tokenizer.path = "bytes"  # nothing is encoded, and the vocabulary is the model's
    validation.check_model(changed.model)
    validation.check_length(changed)
    return changed


def _is_architecture(name: str) -> bool:
    """Whether a checkpoint decides the field."""
    when = records(Config)[name].when
    return when is not None and when.field == "model.path"


def _positive(arguments: command_line.CommandLine, name: str) -> float:
    value = float(arguments.flag(name))
    if not value > 0:
        raise ConfigError(f"--{name}={value:g} must be above 0")
    return value


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "topology",
        None,
        "Slices, joined by commas: v5e:8x8, v5p:2x2x4, h100:8; a chip alone stands for all of its slices.",
        flag_values=values,
    )
    flags.DEFINE_integer("num_slices", 1, "Slices of that shape, or nodes.", flag_values=values)
    flags.DEFINE_string(
        "model",
        None,
        "Architecture by name, as llama2_7b, instead of the files at model.path.",
        flag_values=values,
    )
    flags.DEFINE_boolean("search", False, "Rank slices by the price of a step.", flag_values=values)
    flags.DEFINE_boolean(
        "code", True, "Generate code too, which takes most of the time; its size is told.", flag_values=values
    )
    flags.DEFINE_boolean(
        "trials",
        True,
        "Look for the largest batch, and for what to change where it does not fit.",
        flag_values=values,
    )
    flags.DEFINE_enum("format", "text", ["text", "json"], "How to show it.", flag_values=values)
    flags.DEFINE_float(
        "save_rate", 0.5, "GB a second that a host writes to where checkpoints are kept.", flag_values=values
    )
    flags.DEFINE_float(
        "hours_between_preemptions", 24.0, "Mean hours between two preemptions.", flag_values=values
    )


run = command_line.Command(door.__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
