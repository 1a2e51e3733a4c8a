"""Let a model answer: greedy decoding from a trained run or a pretrained checkpoint.

    python -m im_jax.generate --config=FILE --workdir=DIR --prompt="What is 3 + 4?"
    python -m im_jax.generate --config=FILE --config.model.path=MODEL --mode=text --prompt="Once upon a time"

With --workdir, the parameters are those of the run's latest checkpoint; without, those of model.path. In
`chat` mode each prompt is a user message in the configuration's template; in `text` mode it is continued as
it stands.
"""

from absl import flags

from im_jax import command_line
from im_jax.errors import ConfigError


def main(arguments: command_line.CommandLine) -> None:
    prompts = arguments.flag("prompt")
    if not prompts:
        raise ConfigError("nothing to answer; set --prompt=TEXT, once or several times")
    from im_jax.answers import answer  # only now: flags have been read, and JAX is slow to import

    answer(
        arguments.config,
        prompts,
        workdir=arguments.flag("workdir"),
        chat=arguments.flag("mode") == "chat",
        max_new_tokens=arguments.flag("max_new_tokens"),
    )


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Directory of a run.", flag_values=values)
    flags.DEFINE_multi_string("prompt", [], "What to answer.", flag_values=values)
    flags.DEFINE_enum("mode", "chat", ["chat", "text"], "How a prompt is read.", flag_values=values)
    flags.DEFINE_integer("max_new_tokens", 128, "Longest answer.", lower_bound=1, flag_values=values)


run = command_line.Command(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
