"""Say what the time of a run went to, second by second since its first start, and how its attempts ended.

    python -m im_jax.plan ledger WORKDIR [--format=text|json]

Read from WORKDIR/events.jsonl, which a run adds to while it goes on; nothing of JAX is needed. `wasted` are
steps that were taken and, after a resumption from an earlier checkpoint, taken again; `down` is the time
between attempts. Goodput is the time of the steps that were kept, as a share of all time since the first
start. A killed attempt is known up to its last event.
"""

from collections.abc import Sequence

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import Console, print_json
from im_jax.errors import ConfigError


def main(argv: Sequence[str]) -> None:
    """Print the ledger that a command line (program name first) asks for."""
    named = [word for word in argv[1:] if not word.startswith("-")]
    values = read_flags([argv[0], *(word for word in argv[1:] if word.startswith("-"))], define_flags)
    if len(named) != 1:
        raise ConfigError(f"{len(named) or 'no'} runs given; give one directory: ledger WORKDIR")
    from im_jax.pods import ledger_report  # only now: flags have been read
    from im_jax.pods.ledger import read_ledger
    from im_jax.stores.places import place

    ledger = read_ledger(place(named[0], "WORKDIR"))
    if values["format"].value == "json":
        print_json(ledger_report.as_record(ledger))
        return
    console = Console()
    for item in ledger_report.shown(ledger):
        console.print(item)


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("format", "text", ["text", "json"], "How to show it.", flag_values=values)


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
