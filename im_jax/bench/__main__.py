"""Compare this package with its peers, on one machine and in one run.

    python -m im_jax.bench cross_entropy [--shape=2048x768x50257] [--active=1,0.234,0.037]
    python -m im_jax.bench attention [--shape=8x512x4x64] [--examples=1,4]
    python -m im_jax.bench train_step [--shape=8x512] [--active=1,0.037] [--tunix_python=VENV/bin/python]
    python -m im_jax.bench rewrites [--shape=128x6x2] [--model=2x4x64] [--work=train,evaluate]
        [--dtype=float32,bfloat16] [--methods=a,b] [--rounds=10] [--format=table|json]

Every contestant runs in a process of its own; all are prepared first and then timed in turn, one call a
round. `NAME:malloc` and `NAME:hugepages` are contestants under other settings of the C library's memory.
What is not installed, cannot run here or fails is reported as such.
"""

import shlex
import sys
from collections.abc import Callable, Iterator

from absl import flags

from im_jax.bench import options, report
from im_jax.bench.methods import BENCHMARKS, default_methods
from im_jax.bench.rounds import Measurement, measure
from im_jax.console import Console, print_text, words
from im_jax.errors import UserError
from im_jax.text import in_one_line


def main(argv: list[str]) -> None:
    """Run the benchmark that a command line asks for."""
    if any(argument in ("--help", "-h", "-help") for argument in argv[1:]):
        _print_help(argv)
        return
    chosen = options.parse(argv)
    facts = report.header(f"python -m im_jax.bench {shlex.join(argv[1:])}", chosen.plan.rounds)
    shown = report.as_json if chosen.format == "json" else report.as_text
    for part in shown(facts, _measured(chosen)):
        print_text(part)


def _measured(chosen: options.Options) -> Iterator[Measurement]:
    """Each case when it is done: what was measured is shown even if a later case is cut off."""
    progress = Console(stderr=True)
    for case in chosen.cases:
        with progress.status(case.title) as status:

            def show(what: str, update: Callable[..., None] = status.update, title: str = case.title) -> None:
                update(words(f"{title}: {what}"))

            measurement = measure(case, chosen.plan, show)
        yield measurement


def _print_help(argv: list[str]) -> None:
    print_text((__doc__ or "").strip())
    for benchmark in [name for name in BENCHMARKS if name in argv] or BENCHMARKS:
        values = flags.FlagValues()
        options.define_flags(values, benchmark)
        print_text(f"\n{benchmark}: {', '.join(default_methods(benchmark))}")
        for name in sorted(values):
            print_text(f"  --{name}: {values[name].help} [{values[name].value}]")


if __name__ == "__main__":
    try:
        main(sys.argv)
    except UserError as error:
        print_text(f"error: {in_one_line(error)}", sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
