"""What a run would be, without running it: how long, how large, and what carries loss."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from rich.table import Table

from im_jax.models import counts
from im_jax.token_classes import MAIN_CLASSES, TokenClass
from im_jax.training.memory import as_bytes, bytes_on_a_device
from im_jax.training.partition import everything
from im_jax.training.program import abstract_batch
from im_jax.training.run import Run


def overview(run: Run) -> list[Table]:
    """Tables for a reader. Compiles the step, which says how much memory it takes; runs nothing."""
    return [
        _titled("A run of this configuration", _length(run)),
        _loss(run),
        *([_titled("Weights that change", _schedule(run))] if run.policy.changes else []),
        _titled("Memory of a device", _memory(run)),
    ]


def trained_share(run: Run) -> str:
    """How many of the parameters are trained."""
    trained = sum(x.size for x in jax.tree.leaves(run.abstract_state().params))
    whole = counts.num_params(run.config.model)
    return f"{trained:,} of {whole:,} parameters ({trained / whole:.2%})"


def _titled(title: str, rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(title=title, show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _length(run: Run) -> Iterator[tuple[str, str]]:
    data, config = run.data, run.config
    rows, batch = len(data.train_rows), config.train.batch_size
    tokens = int(data.train.lengths.sum(dtype=np.int64) + data.heldout.lengths.sum(dtype=np.int64))
    yield "training examples", f"{len(data.train):,}"
    yield "held-out examples", f"{len(data.heldout):,}"
    yield "tokens of all examples", f"{tokens:,}"
    yield f"rows of {config.data.max_length:,} tokens", f"{rows:,}"
    yield "rows of a step", f"{batch:,}"
    yield "tokens of a step, padding included", f"{batch * config.data.max_length:,}"
    yield "steps of an epoch", f"{math.ceil(rows / batch):,}"
    yield "steps", f"{run.last_step:,}"
    yield "epochs", f"{run.last_step * batch / rows:.2f}"
    yield "parameters", f"{counts.num_params(config.model):,}"
    if run.is_trained is not everything:
        yield "trained", trained_share(run)


def _loss(run: Run) -> Table:
    of = ", of whole sources" if run.data.shares else ""
    table = Table(title=f"What carries loss under policy {run.policy.name}{of}")
    for name in ("class", "weight", "tokens", "share"):
        table.add_column(name, justify="left" if name == "class" else "right")
    counts, weights = run.data.report.tokens, run.policy.largest()
    for main in MAIN_CLASSES:
        members = [c for c in TokenClass if c.main is main]
        if tokens := sum(int(counts[c]) for c in members):
            weight = " / ".join(dict.fromkeys(run.policy.shown(c) for c in members if counts[c]))
            table.add_row(main.label, weight, f"{tokens:,}", f"{tokens / counts.sum():.1%}")
    trained = sum(int(count) for count, weight in zip(counts, weights, strict=True) if weight > 0)
    table.add_section()
    table.add_row("with loss", "", f"{trained:,}", f"{trained / max(counts.sum(), 1):.1%}")
    return table


def _schedule(run: Run) -> Iterator[tuple[str, str]]:
    for token_class in run.policy.changing():
        ramp = run.policy.changes[token_class]
        begins, ends = ramp.within(run.last_step)
        before, after = f"{ramp.first:g} up to step {begins + 1:,}", f"{ramp.last:g} from step {ends + 1:,}"
        yield token_class.label, f"{before}, {after}"


def _memory(run: Run) -> Iterator[tuple[str, str]]:
    state = run.abstract_state()
    read = bytes_on_a_device(tuple(run.frozen))
    if read:
        yield "parameters that are only read", as_bytes(read)
    yield "parameters that are trained" if read else "parameters", as_bytes(bytes_on_a_device(state.params))
    yield "state of the optimiser", as_bytes(bytes_on_a_device(state.opt_state))
    with jax.set_mesh(run.mesh):
        step: Any = run.train_step
        compiled = step.lower(state, run.frozen, abstract_batch(run.config, run.mesh), run.told(1)).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:  # not every backend says
        return
    # What goes in and comes out shares its memory, as far as it is donated.
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    yield "gradients, activations and the rest of a step", as_bytes(analysis.temp_size_in_bytes)
    yield "all of a step", as_bytes(held + analysis.temp_size_in_bytes)
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        yield "this device has", as_bytes(stats["bytes_limit"])
