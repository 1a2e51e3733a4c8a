"""Let a model answer: prompts on the command line, or a file of them, from a run or a pretrained checkpoint.

    python -m im_jax.generate --workdir=RUN --prompt="What is 3 + 4?"
    python -m im_jax.generate --model=DIR --prompt="What is 3 + 4?" [--adapter=PEFT_DIR]
    python -m im_jax.generate --config=FILE --config.model.path=MODEL --mode=text --prompt="Once upon a time"
    python -m im_jax.generate --workdir=RUN --prompts=FILE.jsonl --output=FILE.jsonl --max_tokens=512

With --workdir, the model is that of the run's latest checkpoint, asked as it was trained; with --model, a
Hugging Face folder or a llama2.c file, changed by the adapter of PEFT that --adapter names. Flags
--config.FIELD=VALUE, and a file --config=FILE, change how it is asked. In `chat` mode each --prompt is a user
message in the template; in `text` mode it is continued as it stands. Where there are several prompts, each
stands above its answer.

A file of prompts has a record a line: `prompt`, a text to go on with, or `messages` (and `tools`); an `id`;
and parameters of its own, by the names of the flags. Answers are written as they finish; the same command
goes on where it was stopped.
"""

import pathlib
from typing import Any, Final

from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.generation.parameters import SamplingParams
from im_jax.saved_config import config_of_model, config_of_run
from im_jax.stores import readable
from im_jax.stores.places import local

_MAX_TOKENS: Final = 128
"""Of an answer to a prompt on the command line; answers to a file need a number that was set."""
_NUMBERS: Final = {
    "temperature": "What logits are divided by; 0 takes the most likely token.",
    "top_p": "Likeliest tokens are kept until their probabilities add up to this.",
    "min_p": "Tokens at least this likely, relative to the likeliest, are kept.",
    "presence_penalty": "Taken from logits of tokens that the answer has.",
    "frequency_penalty": "Taken from them for each time that the answer has them.",
    "repetition_penalty": "By which tokens of prompt and answer become less likely; 1: none.",
}
_COUNTS: Final = {
    "max_tokens": f"Longest answer; {_MAX_TOKENS} for --prompt, and required for --prompts.",
    "min_tokens": "Shortest answer.",
    "n": "Answers to each prompt.",
    "top_k": "So many of the likeliest tokens are kept; 0: all.",
    "seed": "Decides all draws, with the id of a prompt.",
    "logprobs": "With --prompts: log-probabilities of so many likeliest tokens, beside the chosen one's.",
}
_SWITCHES: Final = {
    "ignore_eos": "Go on behind the model's own ends.",
    "include_stop_str_in_output": "Keep in the text what ended it.",
    "skip_special_tokens": "Leave special tokens out of the text.",
}


def main(arguments: command_line.CommandLine) -> None:
    """Answer each prompt."""
    given, file = _parameters(arguments), arguments.flag("prompts")
    _check_flags(arguments)
    output = local(arguments.flag("output") or "")
    if not file:
        given = {"max_tokens": _MAX_TOKENS} | given
        SamplingParams.from_record(given)
    else:
        # Records may still name it.
        SamplingParams.from_record({"max_tokens": given.get("min_tokens", 1) or 1} | given)
    # Only now: flags have been read, and JAX is slow to import.
    from im_jax.cluster.joining import join_cluster
    from im_jax.opening import open_model, open_run

    config, workdir = arguments.config, arguments.flag("workdir")
    chat = arguments.flag("mode") == "chat"
    join_cluster(config)
    model = open_run(workdir, config, chat=chat) if workdir else open_model(config, chat=chat)
    if file:
        from im_jax.generation.asking import answer_file
        from im_jax.training.digest import digest

        answer_file(
            model,
            digest(model.params),
            readable(file),
            output,
            given,
            slots=arguments.flag("slots"),
        )
    else:
        _print_answers(model, arguments.flag("prompt"), SamplingParams.from_record(given), chat=chat)


def _print_answers(model: Any, prompts: list[str], params: SamplingParams, *, chat: bool) -> None:
    import jax

    from im_jax.console import Console
    from im_jax.data.records.conversation import Message
    from im_jax.generation.generator import Generator
    from im_jax.generation.requests import Request

    asked = [model.prompt([Message("user", text)]) if chat else model.text(text) for text in prompts]
    requests = [
        Request(str(number), tokens, params, continues=not chat) for number, tokens in enumerate(asked, 1)
    ]
    generator = Generator(model, slots=min(len(requests) * params.n, 64))
    answers = {(answer.id, answer.sample): answer for answer in generator(requests)}
    console = Console(quiet=jax.process_index() != 0)
    several = len(answers) > 1
    for (name, sample), answer in sorted(answers.items(), key=lambda item: (int(item[0][0]), item[0][1])):
        if several:
            first = name == "1" and not sample
            console.print(f"{chr(10) * (not first)}> {prompts[int(name) - 1]}", style="bold")
        console.print(answer.text)


def _check_flags(arguments: command_line.CommandLine) -> None:
    prompts, file, output = (arguments.flag(name) for name in ("prompt", "prompts", "output"))
    if not prompts and not file:
        raise ConfigError(
            "nothing to answer; set --prompt=TEXT, once or several times, or --prompts=FILE and --output=FILE"
        )
    if prompts and file:
        raise ConfigError("--prompt and --prompts: give one of them")
    if bool(file) != bool(output):
        raise ConfigError(
            f"--{'prompts' if file else 'output'} needs --{'output' if file else 'prompts'}=FILE.jsonl"
        )


def _parameters(arguments: command_line.CommandLine) -> dict[str, Any]:
    """Parameters of sampling that flags have set."""
    names = (*_NUMBERS, *_COUNTS, *_SWITCHES)
    given = {name: arguments.flag(name) for name in names if arguments.flag(name) is not None}
    if arguments.flag("stop"):
        given["stop"] = tuple(arguments.flag("stop"))
    if arguments.flag("stop_token_ids"):
        try:
            given["stop_token_ids"] = tuple(map(int, arguments.flag("stop_token_ids")))
        except ValueError:
            raise ConfigError("--stop_token_ids must be whole numbers, joined by commas") from None
    return given


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
    flags.DEFINE_string("prompts", None, "A file of prompts, JSON Lines.", flag_values=values)
    flags.DEFINE_string("output", None, "With --prompts: the file of answers.", flag_values=values)
    flags.DEFINE_integer(
        "slots", None, "Answers that are decoded together; 64.", lower_bound=1, flag_values=values
    )
    for name, text in _COUNTS.items():
        flags.DEFINE_integer(name, None, text, flag_values=values)
    for name, text in _NUMBERS.items():
        flags.DEFINE_float(name, None, text, flag_values=values)
    for name, text in _SWITCHES.items():
        flags.DEFINE_boolean(name, None, text, flag_values=values)
    flags.DEFINE_multi_string("stop", [], "A text that ends an answer.", flag_values=values)
    flags.DEFINE_list("stop_token_ids", [], "Tokens that end an answer.", flag_values=values)


def define_adapter(values: flags.FlagValues) -> None:
    """The flag for an adapter of --model."""
    flags.DEFINE_string(
        "adapter", None, "With --model: folder of a PEFT (LoRA) adapter of it.", flag_values=values
    )


run = command_line.Command(__doc__ or "", main, define_flags, read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
