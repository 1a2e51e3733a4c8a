"""A plan for a reader: tables of two columns, and the ranking of slices."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from im_jax.pods.bounds import bytes_read, price_per_hour, share_of_peak
from im_jax.pods.chips import PRICED
from im_jax.pods.plan import Plan, steps_between
from im_jax.text import counted
from im_jax.training.memory import as_bytes

_BUFFERS = 8
_AT_BEST = {
    "compute": "its operations at the stated peak",
    "memory": "its memory's traffic",
    "interconnect": "what devices exchange",
    "network": "what slices exchange",
}


def tables(plan: Plan) -> list[Table]:
    """All that is known of one plan."""
    found = [
        _table(f"{plan.topology}: {_verdict(plan)}", _memory(plan)),
        _table("Largest in memory when most is in use", _buffers(plan)),
        _table("A step", _step(plan)),
        _table(f"Costs, at least ({PRICED})", _costs(plan)),
        _table("Checkpoints", _checkpoints(plan)),
    ]
    if plan.changes:
        found.append(_table("What else was tried", _changes(plan)))
    return [table for table in found if table.row_count]


def ranking(plans: Sequence[Plan]) -> Table:
    """Slices, those that fit first, the cheapest step before others."""
    table = Table(title=f"Slices by the price of a step, all at least ({PRICED})")
    for name in ("slice", "chips", "a device needs", "left", "step", "$ a step", "$ a step, spot"):
        table.add_column(name, justify="left" if name == "slice" else "right")
    for plan in ranked(plans):
        needed = f"{as_bytes(plan.compiled.needed)} of {as_bytes(plan.compiled.available)}"
        left = f"{plan.headroom:.0%}" if plan.compiled.fits else "does not fit"
        prices = [_dollars(plan.price_per_step(spot=spot)) for spot in (False, True)]
        chips = f"{plan.topology.chips:,}"
        table.add_row(str(plan.topology), chips, needed, left, f"{plan.bound.seconds:.3g} s", *prices)
    return table


def ranking_as_json(plans: Sequence[Plan], refused: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "plans": [plan.as_json() for plan in ranked(plans)],
        "refused": [{"topology": name, "reason": reason} for name, reason in refused],
    }


def ranked(plans: Sequence[Plan]) -> list[Plan]:
    """Those that fit first, the cheapest step first, and of equal ones the fastest."""

    def key(plan: Plan) -> tuple[bool, float, float]:
        price = plan.price_per_step(spot=False)
        dollars = float("inf") if price is None else round(price, 6)
        return not plan.compiled.fits, dollars, plan.bound.seconds

    return sorted(plans, key=key)


def _verdict(plan: Plan) -> str:
    if plan.compiled.problem:
        return f"does not compile: {plan.compiled.problem}"
    if not plan.compiled.fits:
        return f"does not fit, by {as_bytes(plan.compiled.needed - plan.compiled.available)} a device"
    if plan.compiled.hbm_bytes is None:
        return "may fit, by shapes alone: what the compiler needs beside is not known without a GPU"
    return f"fits, with {plan.headroom:.1%} of the memory left"


def _memory(plan: Plan) -> Iterator[tuple[str, str]]:
    known, compiled = plan.compiled.traced, plan.compiled
    mesh = " x ".join(f"{axis} {size}" for axis, size in known["mesh"].items())
    yield "devices", f"{plan.topology.devices:,} ({counted(plan.hosts, 'host')}, {mesh})"
    yield "parameters that are trained", as_bytes(known["param_bytes"])
    yield "state of the optimiser", as_bytes(known["optimizer_bytes"])
    if known["frozen_bytes"]:
        yield "parameters that are only read", as_bytes(known["frozen_bytes"])
    yield "rows", as_bytes(known["batch_bytes"])
    if compiled.hbm_bytes is None:
        yield "gradients and inputs of layers, at least", as_bytes(compiled.needed - known["argument_bytes"])
    else:
        yield (
            "activations, gradients and the rest of a step",
            as_bytes(compiled.hbm_bytes - known["argument_bytes"]),
        )
    if compiled.code_bytes is not None:
        yield "code", as_bytes(compiled.code_bytes)
    yield "peak", as_bytes(compiled.needed)
    yield "a program may use", as_bytes(compiled.available)
    yield "left", f"{plan.headroom:.1%}"
    if plan.batches is not None:
        larger = ""
        if plan.batches.next is not None and plan.batches.next_needed is not None:
            larger = f"; {plan.batches.next:,} need {as_bytes(plan.batches.next_needed)}"
        yield "largest batch that fits, in rows", f"{plan.batches.largest:,}{larger}"


def _buffers(plan: Plan) -> Iterator[tuple[str, str]]:
    for each in plan.compiled.buffers[:_BUFFERS]:
        yield each.name, as_bytes(each.bytes)


def _step(plan: Plan) -> Iterator[tuple[str, str]]:
    known, shortest = plan.compiled.traced, plan.bound
    yield "tokens, padding included", f"{known['tokens']:,}"
    yield "operations of the model", f"{known['model_flops']:.4g}"
    yield "operations that are executed, recomputation included", f"{known['flops']:.4g}"
    yield "a device reads from its memory, at least", as_bytes(bytes_read(plan.compiled))
    for each in plan.compiled.collectives:
        along = f" along {' and '.join(each.axes)}" if each.axes else ""
        yield f"{each.kind}{along}, {each.group} devices, {each.times:,} times", as_bytes(each.bytes)
    for name, seconds in shortest._asdict().items():
        if seconds:
            yield f"time for {_AT_BEST[name]}", f"{seconds:.3g} s"
    yield "a step takes at least (a bound, not a forecast)", f"{shortest.seconds:.3g} s"
    share = share_of_peak(plan.compiled, shortest.seconds)
    yield "model FLOP utilisation, at most", f"{share:.0%}"


def _costs(plan: Plan) -> Iterator[tuple[str, str]]:
    for name, spot in (("on demand", False), ("spot", True)):
        hour, step = price_per_hour(plan.topology, spot=spot), plan.price_per_step(spot=spot)
        if hour is None or step is None:
            continue
        steps = plan.config.train.steps
        run = f", {counted(steps, 'step')} {_dollars(step * steps)}" if steps else ""
        yield name, f"an hour {_dollars(hour)}, a step {_dollars(step)}{run}"


def _checkpoints(plan: Plan) -> Iterator[tuple[str, str]]:
    saving, assumed = plan.saving, plan.assumed
    rate = f"{as_bytes(assumed.save_rate)}/s a host"
    yield "size", as_bytes(saving.bytes)
    yield f"time to write one, at {rate}", f"{saving.seconds:.3g} s"
    often = f"{assumed.between_stops / 3600:g} hours"
    every = f"{steps_between(saving, plan.bound):,}"
    yield f"interval that loses least, with a preemption in {often}", f"{saving.interval / 60:.3g} min"
    yield "as checkpoint.every, at most", every
    yield "time that is lost then", f"{saving.lost:.1%}"


def _changes(plan: Plan) -> Iterator[tuple[str, str]]:
    for each in plan.changes:
        yield str(each), f"{as_bytes(each.needed)}, {'fits' if each.fits else 'does not fit'}"


def _dollars(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.3g}"


def _table(title: str, rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(title=title, show_header=False)
    table.add_column(justify="left", overflow="fold")
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return table
