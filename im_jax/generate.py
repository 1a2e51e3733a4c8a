"""Let a model answer: greedy decoding from a trained run or a pretrained checkpoint.

    python -m im_jax.generate --workdir=RUN --prompt="What is 3 + 4?"
    python -m im_jax.generate --model=DIR --prompt="What is 3 + 4?" [--adapter=PEFT_DIR]
    python -m im_jax.generate --config=FILE --config.model.path=MODEL --mode=text --prompt="Once upon a time"

With --workdir, the model is that of the run's latest checkpoint, asked as it was trained; with --model, a
Hugging Face folder or a llama2.c file, changed by the adapter of PEFT that --adapter names. Flags
--config.FIELD=VALUE, and a file --config=FILE, change how it is asked. In `chat` mode each prompt is a user
message in the template; in `text` mode it is continued as it stands. Where there are several prompts, each
stands above its answer.
"""

import pathlib

from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.saved_config import config_of_model, config_of_run


def main(arguments: command_line.CommandLine) -> None:
    """Print the answer to each prompt."""
    prompts, workdir = arguments.flag("prompt"), arguments.flag("workdir")
    if not prompts:
        raise ConfigError("nothing to answer; set --prompt=TEXT, once or several times")
    # Only now: flags have been read, and JAX is slow to import.
    import jax

    from im_jax.console import Console
    from im_jax.data.records.conversation import Message
    from im_jax.mesh import join_cluster
    from im_jax.opening import open_model, open_run

    config, chat = arguments.config, arguments.flag("mode") == "chat"
    join_cluster(config.mesh)
    model = open_run(workdir, config, chat=chat) if workdir else open_model(config, chat=chat)
    asked = [model.prompt([Message("user", text)]) if chat else model.text(text) for text in prompts]
    answers = model.answer(asked, max_new_tokens=arguments.flag("max_new_tokens"))
    console = Console(quiet=jax.process_index() != 0)
    for number, (prompt, tokens, answer) in enumerate(zip(prompts, asked, answers, strict=True)):
        if len(prompts) > 1:
            console.print(f"{chr(10) * (number > 0)}> {prompt}", style="bold")
        console.print(answer.text if chat else model.continuation(tokens, answer))


def read(path: pathlib.Path | None, values: flags.FlagValues) -> Config:
    """The configuration that flags change: of the file, else of the run, else of the model."""
    workdir, model, adapter = (values[name].value for name in ("workdir", "model", "adapter"))
    if adapter and not model:
        raise ConfigError(f"--adapter={adapter} needs --model=DIR, its base; a run has its own adapter")
    if workdir and model:
        raise ConfigError(f"--workdir={workdir} and --model={model}: ask one of them")
    if path is not None:
        config = command_line.read_file(path, values)
        config.model.path = model or config.model.path
        config.model.lora.path = adapter or config.model.lora.path
        return config
    if workdir:
        return config_of_run(workdir)
    if model:
        return config_of_model(model, adapter or "")
    raise ConfigError("no model to ask; set --workdir=DIR of a run, --model=DIR, or --config=FILE")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Directory of a run.", flag_values=values)
    flags.DEFINE_string("model", None, "A Hugging Face folder or a llama2.c file.", flag_values=values)
    define_adapter(values)
    flags.DEFINE_multi_string("prompt", [], "What to answer.", flag_values=values)
    flags.DEFINE_enum("mode", "chat", ["chat", "text"], "How a prompt is read.", flag_values=values)
    flags.DEFINE_integer("max_new_tokens", 128, "Longest answer.", lower_bound=1, flag_values=values)


def define_adapter(values: flags.FlagValues) -> None:
    """The flag for an adapter of --model."""
    flags.DEFINE_string(
        "adapter", None, "With --model: folder of a PEFT (LoRA) adapter of it.", flag_values=values
    )


run = command_line.Command(__doc__ or "", main, define_flags, read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
