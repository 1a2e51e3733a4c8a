"""Write a trained run or a pretrained model as a folder that transformers, vLLM and llama.cpp read.

    python -m im_jax.export --workdir=RUN --output=DIR [--adapter=keep] [--dtype=bfloat16] [--max_shard=5GB]
    python -m im_jax.export --model=DIR --output=DIR [--adapter=PEFT_DIR] [--config.data.template=NAME]

With --workdir, the model is that of the run's latest checkpoint, with the tokenizer and the template it was
trained with; with --model, a Hugging Face folder or a llama2.c file, with what is beside it, or what
--config.tokenizer.path and --config.data.template name. A run's adapter is merged into the weights, or with
--adapter=keep written alone, as PEFT has it; with --model, --adapter names a PEFT folder to merge. DIR must
not be there yet, or be empty; it is written whole or not at all. What readers will miss is told on standard
error.
"""

import copy
import pathlib
import re
from typing import TYPE_CHECKING

from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.saved_config import config_of_model, config_of_run
from im_jax.stores import readable

if TYPE_CHECKING:
    from im_jax.models.export.comparison import Difference

MERGE, KEEP = "merge", "keep"
"""What --adapter says of a run."""
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def main(arguments: command_line.CommandLine) -> None:
    """Write the folder."""
    output, workdir, adapter = (arguments.flag(name) for name in ("output", "workdir", "adapter"))
    if not output:
        raise ConfigError("no folder to write; set --output=DIR")
    largest = _bytes(arguments.flag("max_shard"))
    # Only now: flags have been read, and JAX is slow to import.
    import contextlib
    import sys

    import jax

    from im_jax.cluster.joining import join_cluster
    from im_jax.console import Console
    from im_jax.models.export.adapter import export_adapter
    from im_jax.models.export.folder import export
    from im_jax.models.export.merging import merged
    from im_jax.opening import model_to_export, run_to_export

    config = arguments.config
    join_cluster(config)
    with contextlib.ExitStack() as stack:
        if workdir:
            source = stack.enter_context(run_to_export(workdir, config))
        else:
            chat = "data.template" in arguments.fields or any(
                map(_has_template, filter(None, (config.model.path, config.model.lora.path)))
            )
            source = stack.enter_context(model_to_export(config, chat=chat))
        adapted = bool(source.model.config.lora.rank)
        if adapter == KEEP:
            notes = export_adapter(source, pathlib.Path(output), dtype=arguments.flag("dtype"))
        else:
            whole = merged(source) if adapted else source
            notes = export(whole, pathlib.Path(output), dtype=arguments.flag("dtype"), max_bytes=largest)
    if (base := config.model.base_dtype) != "param_dtype":
        notes.append(
            f"the adapter was trained beside weights in {base}: load its base so"
            if adapter == KEEP
            else f"maps are written as {base} rounded them, with the adapter in them"
        )
    quiet = jax.process_index() != 0
    for note in notes:
        Console(quiet=quiet, file=sys.stderr).print(f"note: {note}")
    Console(quiet=quiet).print(f"the {'adapter' if adapter == KEEP else 'model'} was written to {output}")
    if adapted and adapter != KEEP and arguments.flag("compare"):
        found = _difference(config, workdir, output)
        Console(quiet=quiet).print(f"logits of the merged model differ from those of the unmerged by {found}")


def _difference(config: Config, workdir: str | None, output: str) -> "Difference":
    """Of the written model from the one that it was made of, both computed with in float32."""
    from im_jax.models.export.comparison import difference, sample_logits
    from im_jax.opening import open_model, open_run

    before, after = copy.deepcopy(config), config_of_model(output)
    before.model.compute_dtype = after.model.compute_dtype = "float32"
    after.tokenizer.path = config.tokenizer.path
    unmerged = open_run(workdir, before, chat=False) if workdir else open_model(before, chat=False)
    expected = sample_logits(unmerged)
    del unmerged  # before the other one is read
    return difference(expected, sample_logits(open_model(after, chat=False)))


def read(path: pathlib.Path | None, values: flags.FlagValues) -> Config:
    """The configuration that flags change: of the run, or of the model."""
    workdir, model, adapter = (values[name].value for name in ("workdir", "model", "adapter"))
    if path is not None:
        raise ConfigError(f"--config={path} has no effect here; set --workdir=RUN or --model=DIR")
    if bool(workdir) == bool(model):
        raise ConfigError("set one of --workdir=RUN and --model=DIR: what to export")
    if not workdir:
        if adapter in (KEEP, MERGE):
            raise ConfigError(f"--adapter={adapter} is for a run; for --model, name the folder of an adapter")
        return config_of_model(str(model), adapter or "")
    if adapter not in (KEEP, MERGE, None):
        raise ConfigError(
            f"--adapter={adapter} is for --model; for a run, which has its own, set {MERGE} or {KEEP}"
        )
    config = config_of_run(workdir)
    if adapter and not config.model.lora.rank:
        raise ConfigError(f"--adapter={adapter}: the run in {workdir} has no adapter; leave it out")
    if adapter == KEEP and config.train.trainable:
        raise ConfigError(
            f"--adapter={KEEP}: the files of an adapter have no place for what else was trained, "
            f"train.trainable={config.train.trainable}; set --adapter={MERGE}"
        )
    return config


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Directory of a run.", flag_values=values)
    flags.DEFINE_string("model", None, "A Hugging Face folder or a llama2.c file.", flag_values=values)
    flags.DEFINE_string("output", None, "The folder to write.", flag_values=values)
    flags.DEFINE_string(
        "adapter",
        None,
        "With --workdir, of a run with an adapter: merge (the default), a whole model; or keep, the adapter "
        "alone, as PEFT and vLLM read it. With --model: folder of a PEFT (LoRA) adapter to merge.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "compare",
        True,
        "Where an adapter is merged: report the largest difference of logits that it makes. The whole model "
        "must fit into memory for that; --nocompare leaves it out.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "dtype",
        None,
        ["float32", "bfloat16", "float16"],
        "Type of the weights; by default that of the run's parameters, or of the model's files.",
        flag_values=values,
    )
    flags.DEFINE_string("max_shard", "5GB", "Largest file of weights, as 5GB or 500MB.", flag_values=values)


def _has_template(path: str) -> bool:
    """Whether a folder has a template; where it has none the configuration's default is not the model's."""
    from im_jax.data.tokenizers.added import read_object

    folder = readable(path)
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
