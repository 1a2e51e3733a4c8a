"""Inside the process that compiles: the step of a configuration for devices that are not here.

A process compiles one program: where XLA writes what it knows of it is fixed when libtpu starts, and who asks
may end the process as soon as the memory is known, long before there is code.
"""

import dataclasses
import json
import math
import pathlib
from typing import Any, Final

import jax

from im_jax import child_process
from im_jax.config import Config, with_overrides
from im_jax.errors import UserError
from im_jax.models import counts
from im_jax.pods.compiling import TRACED
from im_jax.pods.flops import count_flops
from im_jax.pods.topology import Topology, parse
from im_jax.training.memory import bytes_on_a_device
from im_jax.training.program import Program, abstract_arguments, make_program
from im_jax.training.run import Resolved, resolve

_STEPS: Final = 1000
"""Of a run whose length is not configured: only the learning rate depends on it."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Trace and compile a step.

    Args:
        request: `config`, flat; `topology` and `num_slices`; `folder`, where TRACED is written.

    Returns:
        `refused`, a message for the user; or `failed`, the compiler's; or `code_bytes`, None where nothing
        was compiled.
    """
    try:
        config = with_overrides(Config(), request["config"])
        topology = parse(request["topology"], request["num_slices"])
        return _compile(config, topology, pathlib.Path(request["folder"]))
    except UserError as error:
        return {"refused": str(error)}


def _compile(config: Config, topology: Topology, folder: pathlib.Path) -> dict[str, Any]:
    if not topology.is_tpu:
        # By shapes alone: kernels are the platform's own, and the products of plain attention are theirs.
        config.model = dataclasses.replace(config.model, attention="full")
    resolved = resolve(config, devices=_devices(topology))
    program = make_program(resolved.config, resolved.mesh, resolved.rules, config.train.steps or _STEPS)
    arguments = abstract_arguments(resolved.config, program, resolved.mesh, resolved.rules)
    with jax.set_mesh(resolved.mesh):
        step: Any = program.train_step
        traced = step.trace(*arguments)
        flops = count_flops(traced.jaxpr)
        known = _known(resolved, program, arguments) | {"flops": flops.all, "kernel_flops": flops.kernels}
        (folder / TRACED).write_text(json.dumps(known), encoding="utf-8")
        if not topology.is_tpu:
            return {"code_bytes": None}
        lowered = traced.lower()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            return {"failed": str(error)}
    return {"code_bytes": compiled.memory_analysis().generated_code_size_in_bytes}


def _devices(topology: Topology) -> Any:
    if not topology.is_tpu:
        return jax.devices("cpu")  # as many as the environment says
    from jax.experimental import topologies

    options: dict[str, Any] = {"num_slices": topology.num_slices} if topology.num_slices > 1 else {}
    if topology.name.startswith("v4:"):
        options["chip_config_name"] = "megacore"
    return topologies.get_topology_desc(topology.name, "tpu", **options).devices


def _known(resolved: Resolved, program: Program, arguments: Any) -> dict[str, Any]:
    """Sizes by shapes: of a device, and of all that is saved."""
    config, (state, frozen, batch, told) = resolved.config, arguments
    tokens = config.train.batch_size * config.data.max_length
    trained = program.is_trained
    return {
        "mesh": dict(resolved.mesh.shape),
        "parameters": counts.num_params(config.model),
        "num_layers": config.model.num_layers,
        "embed_dim": config.model.embed_dim,
        "param_bytes": bytes_on_a_device(state.params),
        "optimizer_bytes": bytes_on_a_device(state.opt_state),
        "frozen_bytes": bytes_on_a_device(tuple(frozen)),
        "batch_bytes": bytes_on_a_device(batch),
        "argument_bytes": bytes_on_a_device((state, tuple(frozen), batch, told.class_weights)),
        "checkpoint_bytes": sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state)),
        "tokens": tokens,
        "kernel_share": _kernel_share(resolved.config),
        "accumulate": config.train.accumulate,
        "model_flops": tokens * counts.flops_per_token(config.model, config.data.max_length, trained),
    }


def _kernel_share(config: Config) -> float:
    """Of the operations of attention over all keys, at least so much is left by causality and a window."""
    window = config.model.sliding_window or config.data.max_length
    return min(1.0, window / config.data.max_length) / 2


if __name__ == "__main__":
    child_process.serve(answer)
