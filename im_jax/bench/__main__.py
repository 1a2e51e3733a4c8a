"""Compare this package with its peers, on one machine and in one run.

    python -m im_jax.bench cross_entropy [--shape=2048x768x50257] [--active=1,0.234,0.037]
    python -m im_jax.bench attention [--shape=8x512x4x64] [--examples=1,4]
    python -m im_jax.bench train_step [--shape=8x512] [--active=1,0.037] [--tunix_python=VENV/bin/python]
    python -m im_jax.bench lora [--shape=8x512] [--active=1,0.037] [--rank=16]
    python -m im_jax.bench rewrites [--shape=128x6x2] [--model=2x4x64] [--work=train,evaluate]
    python -m im_jax.bench prepare --data=FILES [--tokenizers=DIR,DIR] [--shape=200000x2048]
    python -m im_jax.bench generate --data=FILE,FILE --tokenizer=FILE [--work=fixed,real] [--shape=512x256]
    python -m im_jax.bench likelihood --data=FOLDER --tokenizer=FILE [--work=mmlu,piqa] [--shape=1000x4096]
        [--dtype=float32,bfloat16] [--methods=a,b] [--rounds=10] [--format=table|json]

Every contestant runs in a process of its own; all are prepared first and then timed in turn, one call a
round. `NAME:malloc` and `NAME:hugepages` are contestants under other settings of the C library's memory.
What is not installed, cannot run here or fails is reported as such.
"""

import functools
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from im_jax.bench import options, report
from im_jax.bench.methods import BENCHMARKS, default_methods
from im_jax.bench.rounds import Measurement, measure
from im_jax.command_line import help, runner
from im_jax.console import Console, print_text, words


def main(argv: Sequence[str]) -> None:
    """Run the benchmark that a command line asks for."""
    chosen = options.parse(list(argv))
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


def _help(argv: Sequence[str]) -> str:
    """What the command does, and contestants and flags of the benchmarks named, or of all."""
    parts = [help.reflowed(__doc__ or "")]
    for benchmark in [name for name in BENCHMARKS if name in argv] or BENCHMARKS:
        define = functools.partial(options.define_flags, benchmark=benchmark)
        parts.append(help.of_flags(f"{benchmark}: {', '.join(default_methods(benchmark))}", define))
    return "\n\n".join(parts)


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command on a command line (program name first; `sys.argv` if None), and exit."""
    words = sys.argv if argv is None else argv
    runner.run(lambda: main(words) if help.asked(words) is None else print_text(_help(words)))


if __name__ == "__main__":
    run()
