"""Asking for the step of a configuration to be compiled, and reading what the compiler knew of it."""

import importlib.util
import json
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from im_jax import child_process
from im_jax.child_process import Child, ChildError
from im_jax.config import Config, flatten
from im_jax.errors import ConfigError, ProcessError
from im_jax.pods import dump
from im_jax.pods.collectives import Collective, collectives
from im_jax.pods.dump import Buffer
from im_jax.pods.topology import Topology

_STEP: Final = "train_step"
TRACED: Final = "traced.json"
"""The file of what is known before the compiler is asked."""
_KNOWN: Final = "after_optimizations_after_buffer_assignment.txt"
"""Written behind all that is read here, and before code is generated."""
_OUR_OWN: Final = re.compile(r"^(JAX_|XLA_|TPU_|MEGASCALE_)")
"""Settings of a run that would be of no use to a compiler alone: a cache, a cluster, a platform. What
LIBTPU_INIT_ARGS says of the compiler counts as in a run."""


class Compiled(NamedTuple):
    """What is known of a step on some devices, of each of them unless it says otherwise."""

    topology: Topology
    traced: Mapping[str, Any]
    """Sizes by shapes, and operations; see `pods.compiler`."""
    hbm_bytes: int | None
    """What the compiler says that a program needs, arguments included; None: it was not asked."""
    available: int
    """What a program may use."""
    code_bytes: int | None
    """Of the program itself; None: it was not generated."""
    collectives: Sequence[Collective]
    buffers: Sequence[Buffer]
    problem: str = ""
    """What else the compiler found wrong."""

    @property
    def needed(self) -> int:
        """Bytes: of the compiler, else at least, by shapes."""
        if self.hbm_bytes is None:
            return int(self.traced["argument_bytes"]) + least_temporary_bytes(self.traced)
        return self.hbm_bytes + (self.code_bytes or 0)

    @property
    def fits(self) -> bool:
        return self.needed <= self.available and not self.problem


Compile = Callable[[Config], Compiled]
"""The step of a configuration on some devices; stops, where it may, as soon as its memory is known."""


def require_compiler(topology: Topology) -> None:
    """Stop where there is no compiler for some devices.

    Raises:
        ConfigError: libtpu is not installed.
    """
    if topology.is_tpu and importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            "the compiler of TPUs is not installed; install the extra tpu, which needs no TPU: "
            "pip install -c constraints.txt -e '.[tpu]' (or ask for GPUs, as --topology=h100:8)"
        )


def compile_step(config: Config, topology: Topology, *, until_code: bool = True) -> Compiled:
    """The step of a configuration, compiled in a process of its own.

    Args:
        config: checked.
        topology: where it is to run.
        until_code: generate code too, which takes most of the time and only tells how large it is.

    Raises:
        ConfigError: the configuration cannot run there.
        ProcessError: the compiler crashed.
    """
    with tempfile.TemporaryDirectory(prefix="im_jax_plan_") as name:
        folder = pathlib.Path(name)
        request = {
            "config": flatten(config),
            "topology": topology.name,
            "num_slices": topology.num_slices,
            "folder": name,
        }
        answer = _asked(request, _environment(topology, folder), folder, until_code=until_code)
        if "refused" in answer:
            raise ConfigError(answer["refused"])
        traced = json.loads((folder / TRACED).read_text(encoding="utf-8"))
        return _read(topology, traced, folder, answer)


def least_temporary_bytes(traced: Mapping[str, Any]) -> int:
    """What a step keeps beside its arguments at least, by shapes: gradients, and the input of each layer."""
    rows = traced["tokens"] // max(1, traced["mesh"]["replica"] * traced["mesh"]["fsdp"])
    kept = traced["num_layers"] * traced["embed_dim"] * rows // traced["mesh"]["tensor"] * 2
    return int(traced["param_bytes"]) + kept // int(traced["accumulate"])


class _MemoryIsKnown(Exception):
    """Nothing more is wanted of the compiler."""


def _asked(
    request: Mapping[str, Any], environment: Mapping[str, str], folder: pathlib.Path, *, until_code: bool
) -> dict[str, Any]:
    def waiting() -> None:
        if not until_code and dump.module(folder, _STEP, _KNOWN) is not None:
            raise _MemoryIsKnown

    with (folder / "errors.txt").open("w+", encoding="utf-8", errors="replace") as errors:
        child = Child([sys.executable, "-m", "im_jax.pods.compiler"], environment, errors)
        try:
            return child.ask(request, waiting=waiting)
        except _MemoryIsKnown:
            return {"code_bytes": None}
        except ChildError as error:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ProcessError(f"the step could not be compiled, {error}; its last words: {last}") from None
        finally:
            child.end()


def _environment(topology: Topology, folder: pathlib.Path) -> dict[str, str]:
    """Of a process that compiles for others' devices, and has nothing to do with those that are here."""
    kept = {name: value for name, value in child_process.environment().items() if not _OUR_OWN.match(name)}
    options = (
        f"--xla_dump_to={folder} --xla_dump_hlo_module_re=.*{_STEP}.*"
        if topology.is_tpu
        else f"--xla_force_host_platform_device_count={topology.devices}"
    )
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": options,
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def _read(
    topology: Topology, traced: Mapping[str, Any], folder: pathlib.Path, answer: Mapping[str, Any]
) -> Compiled:
    def text(ending: str) -> str:
        file = dump.module(folder, _STEP, ending)
        return "" if file is None else file.read_text(encoding="utf-8", errors="replace")

    message = answer.get("failed", "")
    limit = dump.too_large(message)
    needed = dump.hbm_bytes(text("memory-usage-report.txt"))
    return Compiled(
        topology,
        traced,
        hbm_bytes=needed if needed is not None else limit.needed if limit else None,
        available=limit.available if limit else topology.chip.memory,
        code_bytes=answer.get("code_bytes"),
        collectives=collectives(text("after_optimizations.txt"), traced["mesh"]),
        buffers=dump.largest_buffers(text("live-range.txt")),
        problem="" if limit else message.partition("\n")[0],
    )
