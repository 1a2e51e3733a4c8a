"""Plans of a configuration: on some slices, or on all that there are, ranked."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from im_jax.activity import Activity
from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.pods.chips import CHIPS
from im_jax.pods.compiling import Compiled, compile_step, require_compiler
from im_jax.pods.plan import Assumptions, Plan, make_plan
from im_jax.pods.topology import Topology, candidates, parse
from im_jax.pods.trials import largest_batch, what_fits
from im_jax.text import in_one_line


class Found(NamedTuple):
    """What became of each slice that was looked at."""

    plans: list[Plan]
    refused: list[tuple[str, str]]
    """Name of a slice, and why there is no plan for it."""


def topologies(names: str, num_slices: int) -> list[Topology]:
    """The slices of names that are joined by commas; a chip alone, as `v5e`, stands for all of its slices.

    Raises:
        ConfigError: one does not exist, or its compiler is not here.
    """
    found: list[Topology] = []
    for name in names.split(","):
        chip = name.strip().lower()
        whole = chip in CHIPS and CHIPS[chip].dimensions
        every = [each for each in candidates() if each.startswith(f"{chip}:")] if whole else [name]
        found += [parse(each, num_slices) for each in every]
    for topology in found:
        require_compiler(topology)
    return found


def plan_on(
    config: Config, topology: Topology, assumed: Assumptions, doing: Activity, *, code: bool, trials: bool
) -> Plan:
    """One plan, with what else fits.

    Args:
        config: checked.
        topology: where it is to run.
        assumed: what no compiler knows.
        doing: shows what is being done.
        code: generate code too, which takes most of the time.
        trials: look for the largest batch, and for what to change where it does not fit.

    Raises:
        ConfigError: the configuration cannot run there.
    """
    with doing(f"compiling the step for {topology}"):
        plan = make_plan(config, topology, assumed, until_code=code)
    if not trials or not topology.is_tpu or plan.compiled.problem:
        return plan
    compiled = plan.compiled

    def try_one(changed: Config) -> Compiled:
        tried = compile_step(changed, topology, until_code=False)
        return tried._replace(code_bytes=compiled.code_bytes)  # about as much code, whatever the rows

    changes = []
    if not compiled.fits:
        with doing(f"trying what fits on {topology}"):
            changes = what_fits(config, compiled, try_one)
    with doing(f"searching the largest batch on {topology}"):
        batches = largest_batch(config, compiled, try_one)
    return dataclasses.replace(plan, batches=batches, changes=changes)


def search(config: Config, slices: Sequence[Topology], assumed: Assumptions, doing: Activity) -> Found:
    """Plans of all slices that could hold the state, up to where their memory is known."""
    found = Found([], [])
    state: int | None = None
    with doing(f"compiling the step for {len(slices)} slices", total=len(slices)) as done:
        for topology in sorted(slices, key=lambda each: -each.devices):
            if state is not None and state / topology.devices > topology.chip.memory:
                found.refused.append((str(topology), "it cannot hold the state"))
            else:
                state = _plan_or_refuse(config, topology, assumed, found) or state
            done(1)
    return found


def _plan_or_refuse(config: Config, topology: Topology, assumed: Assumptions, found: Found) -> int | None:
    """Add a plan or a refusal; the bytes of the whole state, if they are known."""
    try:
        plan = make_plan(config, topology, assumed, until_code=False)
    except ConfigError as error:
        found.refused.append((str(topology), in_one_line(error)))
        return None
    found.plans.append(plan)
    return int(plan.compiled.traced["checkpoint_bytes"])
