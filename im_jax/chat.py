"""Talk with a model: a conversation in the terminal, greedy, from a trained run or a pretrained checkpoint.

    python -m im_jax.chat --workdir=RUN
    python -m im_jax.chat --model=DIR [--adapter=PEFT_DIR]

Lines that begin with / are commands: /reset, /system TEXT, /undo, /quit.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from absl import flags

from im_jax import command_line
from im_jax.errors import ConfigError, UserError
from im_jax.generate import define_adapter, read
from im_jax.text import plain, storable

if TYPE_CHECKING:
    from im_jax.data.records.conversation import Message
    from im_jax.models.loaded import Model

_HELP = "commands: /reset, /system TEXT, /undo, /quit"


@dataclasses.dataclass
class Talk:
    """A conversation so far."""

    model: "Model"
    max_new_tokens: int
    write: Callable[[str], object]
    """Takes text as it comes, line ends included."""
    system: str = ""
    turns: "list[Message]" = dataclasses.field(default_factory=list)
    """A question and its answer in turn."""

    def run(self, lines: Iterable[str]) -> None:
        """Answer each line, until one says to quit."""
        for line in lines:
            command, _, rest = line.strip().partition(" ")
            match command:
                case "":
                    continue
                case "/quit":
                    return
                case "/reset":
                    self.turns.clear()
                case "/system":
                    self.system = rest.strip()
                    self.turns.clear()
                case "/undo":
                    del self.turns[-2:]
                case _ if command.startswith("/"):
                    self.write(f"{command} is no command; {_HELP}\n")
                case _:
                    self._answer(line.strip())

    def _answer(self, question: str) -> None:
        from im_jax.data.records.conversation import Message

        asked = [*self.turns, Message("user", question)]
        system = [Message("system", self.system)] if self.system else []
        said = ""
        try:
            prompt = self.model.prompt([*system, *asked])
            for piece in self.model.stream(prompt, max_new_tokens=self.max_new_tokens):
                said += piece
                self.write(piece)
        except UserError as error:
            self.write(f"error: {error}; /undo or /reset makes room\n")
            return
        self.write("\n")
        self.turns = [*asked, Message("assistant", said)]


def main(arguments: command_line.CommandLine) -> None:
    """Talk until the input ends."""
    import jax

    from im_jax.cluster.joining import join_cluster
    from im_jax.opening import open_model, open_run

    config, workdir = arguments.config, arguments.flag("workdir")
    join_cluster(config)
    if jax.process_count() > 1:
        raise ConfigError("a conversation is for one process; use im_jax.generate in a cluster")
    model = open_run(workdir, config, chat=True) if workdir else open_model(config, chat=True)
    if sys.stdin.isatty():
        _write(f"{_HELP}\n")
    Talk(model, arguments.flag("max_tokens"), _write).run(_lines())


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Directory of a run.", flag_values=values)
    flags.DEFINE_string("model", None, "A Hugging Face folder.", flag_values=values)
    define_adapter(values)
    flags.DEFINE_integer("max_tokens", 512, "Longest answer.", lower_bound=1, flag_values=values)


def _lines() -> Iterable[str]:
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return


def _write(text: str) -> None:
    sys.stdout.write(storable(plain(text), sys.stdout.encoding))
    sys.stdout.flush()


run = command_line.Command(__doc__ or "", main, define_flags, read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
