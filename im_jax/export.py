"""Write a trained run or a pretrained model as a folder that transformers, vLLM and llama.cpp read.

    python -m im_jax.export --workdir=RUN --output=DIR [--dtype=bfloat16] [--max_shard=5GB]
    python -m im_jax.export --model=DIR --output=DIR [--config.data.template=NAME]

With --workdir, the model is that of the run's latest checkpoint, with the tokenizer and the template it was
trained with; with --model, a Hugging Face folder or a llama2.c file, with what is beside it, or what
--config.tokenizer.path and --config.data.template name. DIR must not be there yet, or be empty; it is written
whole or not at all. What readers will miss is told on standard error.
"""

import pathlib
import re

from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.saved_config import config_of_model, config_of_run

_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def main(arguments: command_line.CommandLine) -> None:
    """Write the folder."""
    output, workdir = arguments.flag("output"), arguments.flag("workdir")
    if not output:
        raise ConfigError("no folder to write; set --output=DIR")
    largest = _bytes(arguments.flag("max_shard"))
    # Only now: flags have been read, and JAX is slow to import.
    import contextlib
    import sys

    import jax

    from im_jax.console import Console
    from im_jax.mesh import join_cluster
    from im_jax.models.export.folder import export
    from im_jax.opening import model_to_export, run_to_export

    config = arguments.config
    join_cluster(config.mesh)
    with contextlib.ExitStack() as stack:
        if workdir:
            source = stack.enter_context(run_to_export(workdir, config))
        else:
            chat = "data.template" in arguments.fields or _has_template(pathlib.Path(config.model.path))
            source = stack.enter_context(model_to_export(config, chat=chat))
        notes = export(source, pathlib.Path(output), dtype=arguments.flag("dtype"), max_bytes=largest)
    quiet = jax.process_index() != 0
    for note in notes:
        Console(quiet=quiet, file=sys.stderr).print(f"note: {note}")
    Console(quiet=quiet).print(f"the model was written to {output}")


def read(path: pathlib.Path | None, values: flags.FlagValues) -> Config:
    """The configuration that flags change: of the run, or of the model."""
    workdir, model = values["workdir"].value, values["model"].value
    if path is not None:
        raise ConfigError(f"--config={path} has no effect here; set --workdir=RUN or --model=DIR")
    if bool(workdir) == bool(model):
        raise ConfigError("set one of --workdir=RUN and --model=DIR: what to export")
    return config_of_run(workdir) if workdir else config_of_model(str(model))


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Directory of a run.", flag_values=values)
    flags.DEFINE_string("model", None, "A Hugging Face folder or a llama2.c file.", flag_values=values)
    flags.DEFINE_string("output", None, "The folder to write.", flag_values=values)
    flags.DEFINE_enum(
        "dtype",
        None,
        ["float32", "bfloat16", "float16"],
        "Type of the weights; by default that of the run's parameters, or of the model's files.",
        flag_values=values,
    )
    flags.DEFINE_string("max_shard", "5GB", "Largest file of weights, as 5GB or 500MB.", flag_values=values)


def _has_template(folder: pathlib.Path) -> bool:
    """Whether a folder has a template; where it has none the configuration's default is not the model's."""
    from im_jax.data.tokenizers.added import read_object

    return (folder / "chat_template.jinja").is_file() or bool(
        read_object(folder / "tokenizer_config.json").get("chat_template")
    )


def _bytes(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|TB)?", text.strip(), re.IGNORECASE)
    size = float(found[1]) * _UNITS.get((found[2] or "").upper(), 1) if found else 0
    if size < 1:
        raise ConfigError(f"--max_shard={text} is no size; write it as 5GB or 500MB")
    return size


run = command_line.Command(__doc__ or "", main, define_flags, read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
