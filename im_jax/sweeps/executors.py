"""Who runs a sweep: the flags that say so, and what each needs."""

import enum
from typing import Any, Final

from absl import flags

from im_jax.errors import ConfigError
from im_jax.sweeps.slurm import Options


class Executor(enum.StrEnum):
    """Who runs it."""

    LOCAL = "local"
    SLURM = "slurm"


_SBATCH: Final = {
    "partition": "Slurm's partition.",
    "account": "Who pays, in Slurm.",
    "qos": "Slurm's quality of service.",
    "time": "Slurm: the limit of a run, as 4:00:00; the partition's if not given.",
    "cpus_per_task": "Slurm: cores of a run.",
    "mem": "Slurm: memory of a run, as 64G.",
    "gpus_per_node": "Slurm: GPUs of a run.",
}
_NUMBERS: Final = {
    "parallel": "Slurm: how many runs may go on at a time; any number if not given.",
    "save_seconds": "Slurm: so long before its limit a run saves, and is queued again; 300 if not given.",
    "max_requeues": "Slurm: how often that may happen; 100 if not given.",
}


def define_flags(values: flags.FlagValues) -> None:
    """The flags that `read_executor` asks."""
    flags.DEFINE_enum_class(
        "executor",
        Executor.LOCAL,
        Executor,
        "Who runs: this machine, or a Slurm cluster.",
        flag_values=values,
    )
    workers = "This machine: how many runs go on at a time, each with its share of the cores; 1 if not given."
    flags.DEFINE_integer("workers", None, workers, flag_values=values)
    for name, help in _SBATCH.items():
        flags.DEFINE_string(name, None, help, flag_values=values)
    for name, help in _NUMBERS.items():
        flags.DEFINE_integer(name, None, help, flag_values=values)
    other = "Slurm: any other option of sbatch, as --sbatch=constraint=a100; may be repeated."
    flags.DEFINE_multi_string("sbatch", [], other, flag_values=values)


def read_executor(values: flags.FlagValues) -> Options | None:
    """What jobs need; None where this machine runs the sweep.

    Raises:
        ConfigError: flags are not of that executor, or have values that it does not know.
    """
    given: dict[str, Any] = {
        name: values[name].value for name in values if values[name].value not in (None, [])
    }
    if given["executor"] is Executor.LOCAL:
        for name in (*_SBATCH, *_NUMBERS, "sbatch"):
            if name in given:
                raise ConfigError(
                    f"--{name} has no effect on this machine; leave it out, or set --executor=slurm"
                )
        return None
    if "workers" in given:
        raise ConfigError(
            "--workers has no effect in Slurm; leave it out, or set --parallel=N for N runs at a time"
        )
    sbatch: dict[str, str | bool] = {name.replace("_", "-"): given[name] for name in _SBATCH if name in given}
    for text in given.get("sbatch", []):
        name, equals, value = text.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not name:
            raise ConfigError(f"--sbatch={text}: write --sbatch=NAME=VALUE")
        if name in sbatch:
            raise ConfigError(f"--sbatch={text}: {name} is given twice")
        sbatch[name] = value if equals else True
    return Options(sbatch, **{name: given[name] for name in _NUMBERS if name in given})
