"""Write conversations of JSON Lines files as a TFDS data set, which many processes open at once by index.

    python -m im_jax.data.builders.instruction_jsonl --path=train.jsonl.gz --data_dir=/data
        [--split=NAME=FILE ...] [--on_bad_example=stop|skip] [--fields.FIELD=NAME ...]
        [--turns.FIELD=CHOICE ...]

Flags are called as the fields of `config.data`. The order is that of the files, so training on either gives
the same run. The files written are ArrayRecord; TensorFlow is not needed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.config import Config, FieldNames, TurnsConfig, records
from im_jax.console import print_text
from im_jax.errors import ConfigError, DataError
from im_jax.text import counted, in_one_line

if TYPE_CHECKING:
    from im_jax.data.builders.dataset import InstructionJsonl

_MISSING: Final = {
    "path": "set --path=FILE, or several joined by commas",
    "data_dir": "set --data_dir=DIR, where TFDS data sets live",
}


def main(argv: Sequence[str]) -> None:
    """Write the data set that a command line (program name first) asks for, and say how to train on it."""
    values = read_flags(argv, define_flags)
    given: dict[str, Any] = {name: values[name].value for name in values}
    for name in ("path", "data_dir"):
        if not given[name]:
            raise ConfigError(f"--{name} is not given; {_MISSING[name]}")
    paths = split_files(given["path"], given["split"])
    fields, turns = FieldNames(**_of_group(given, "fields")), TurnsConfig(**_of_group(given, "turns"))
    from im_jax.data.builders.dataset import prepare  # only now: flags have been read, and TFDS is slow

    try:
        builder = prepare(paths, given["data_dir"], fields, given["on_bad_example"], turns)
    except DataError as error:
        raise DataError(str(error).replace("--config.data.", "--")) from error
    report(builder, given["data_dir"], turns)


def split_files(train: str, others: Sequence[str]) -> dict[str, str]:
    """Files by split: those of `train`, and others as `NAME=FILE`.

    Raises:
        ConfigError: another split has no name, no file or a name that is taken.
    """
    paths = {"train": train}
    for split in others:
        name, equals, path = split.partition("=")
        if not (name.isidentifier() and equals and path) or name in (*paths, "all"):
            raise ConfigError(
                f"--split={split}: must be a new NAME=FILE, where NAME is neither train nor all"
            )
        paths[name] = path
    return paths


def report(builder: "InstructionJsonl", data_dir: str, turns: TurnsConfig) -> None:
    """Say what was written, and how to train on it."""
    from im_jax.data.statistics import DataReport  # with `dataset`, which is imported by now

    for name, source in builder.sources.items():
        print_text(f"{name}: {counted(len(source), 'example')}, {len(source.skipped)} skipped")
        counts = DataReport()
        for i in range(len(source)):
            counts.unread.update(source[i].unread)
            counts.turn_choices.update(source[i].turn_choices)
        if counts.unread:
            print_text(f"  text that nothing reads: {counts.unread_text()}")
        if counts.turn_choices:
            print_text(f"  turns: {counts.turns_text()}")
        for reason, count in source.left_out.items():
            print_text(f"  left out: {count:,} {reason}")
        for message in source.skipped:
            print_text(f"  skipped {in_one_line(message)}")
    print_text(f"Written to {builder.data_path}. Train on it with:")
    kept = " --config.data.turns.empty=keep" if turns.empty == "keep" else ""
    print_text(
        f"  --config.data.source=tfds --config.data.name={builder.name} --config.data.path={data_dir}{kept}"
    )


def define_flags(values: flags.FlagValues) -> None:
    known = records(Config)
    flags.DEFINE_string("path", None, "Files of the split `train`, joined by commas.", flag_values=values)
    flags.DEFINE_string("data_dir", None, "Directory of TFDS data sets to write to.", flag_values=values)
    flags.DEFINE_multi_string("split", [], "One more split, as NAME=FILE.", flag_values=values)
    bad: Any = known["data.on_bad_example"]
    flags.DEFINE_enum("on_bad_example", bad.default, bad.choices, bad.help, flag_values=values)
    for name, field in known.items():
        flag = name.removeprefix("data.")
        if name.startswith("data.fields."):
            flags.DEFINE_string(flag, field.default, field.help, flag_values=values)
        if name.startswith("data.turns."):
            flags.DEFINE_enum(flag, field.default, field.choices, field.help, flag_values=values)


def _of_group(given: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The flags `--GROUP.FIELD`, by field."""
    return {name.partition(".")[2]: value for name, value in given.items() if name.startswith(f"{group}.")}


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
