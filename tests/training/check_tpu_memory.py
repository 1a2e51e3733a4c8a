"""Compiles the step for slices of TPUs that are not here, and says what a chip holds and sends.

    JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 python -m tests.training.check_tpu_memory [NAME ...]

Needs libtpu, and a minute for each case. Memory is the peak that the compiler counts, arguments included.
"""

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from configs import llama2_7b
from im_jax import mesh as meshes
from im_jax.batch import Batch
from im_jax.config import MeshConfig, ModelConfig
from im_jax.models import presets
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import NUM_CLASSES
from im_jax.training import state as states
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.partition import Frozen
from im_jax.training.step import make_train_step
from im_jax.training.told import Told
from tests.hlo import collective_bytes

GIB: Final = 2**30
LENGTH: Final = 2048


@dataclass(frozen=True)
class Case:
    """A model on a slice, rows of 2048 tokens, and the bounds that hold."""

    model: ModelConfig
    topology: str
    rows: int
    peak: float
    """GiB that a chip holds at most."""
    reduced: float
    """GiB that a chip adds up with others in a step, at most."""


CASES: Final = {
    "7b_v5e_8x8": Case(presets.llama2_7b(), "v5e:8x8", 128, peak=3.54, reduced=12.5),
    # Its tokens are what fills a chip, which has 15.75 GiB.
    "7b_v5e_8x8_1280_rows": Case(presets.llama2_7b(), "v5e:8x8", 1280, peak=14.75, reduced=12.5),
    "7b_v5p_2x2x4": Case(presets.llama2_7b(), "v5p:2x2x4", 128, peak=13.50, reduced=12.5),
    "13b_v5p_2x4x4": Case(presets.llama2_13b(), "v5p:2x4x4", 128, peak=11.31, reduced=24.5),
    # Its compiler makes additions of gathers.
    "13b_v5p_4x4x4": Case(presets.llama2_13b(), "v5p:4x4x4", 128, peak=5.84, reduced=72.0),
}


def compiled_step(
    model: ModelConfig, mesh: Mesh, rows: int, length: int = LENGTH, *, reduce_dtype: str = "bfloat16"
) -> Any:
    """A step of `configs/llama2_7b.py` with another model, compiled for a mesh; the state is donated."""
    config = llama2_7b.get_config()
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, 100))
    rules = ShardingRules(reduce_dtype=reduce_dtype)
    shardings = states.state_shardings(model, optimizer, mesh, rules)
    state = states.with_shardings(states.abstract_state(model, optimizer), shardings)
    step = make_train_step(model, config.loss, optimizer, accumulate=1, rules=rules)
    by_row, whole = meshes.batch_sharding(mesh), NamedSharding(mesh, PartitionSpec())
    batch = Batch(
        *(
            jax.ShapeDtypeStruct((rows, length), dtype, sharding=by_row)
            for dtype in (jnp.int32, jnp.uint8, jnp.int32, jnp.int32, jnp.float32)
        )
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    told = Told(
        jax.ShapeDtypeStruct((NUM_CLASSES,), jnp.float32, sharding=whole),
        jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole),
        {},
    )
    with jax.set_mesh(mesh):
        jitted = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
        return jitted.lower(state, Frozen({}), batch, told).compile()


def peak_bytes(compiled: Any) -> int:
    """Of a device, at the moment of the program at which it holds most, arguments included."""
    return int(compiled.memory_analysis().peak_memory_in_bytes)


def main() -> None:
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        model = dataclasses.replace(case.model, compute_dtype="bfloat16", remat="full")
        devices = topologies.get_topology_desc(case.topology, "tpu").devices
        compiled = compiled_step(model, meshes.make_mesh(MeshConfig(), devices), case.rows)
        peak, sent = peak_bytes(compiled) / GIB, collective_bytes(compiled.as_text())
        kinds = ", ".join(f"{kind} {count / GIB:.3f}" for kind, count in sorted(sent.items()))
        print(f"{name}: {peak:.3f} GiB a chip (at most {case.peak}); GiB sent: {kinds}", flush=True)
        assert peak <= case.peak, name
        assert sum(sent.get(kind, 0) for kind in ("all-reduce", "reduce-scatter")) <= case.reduced * GIB, name


if __name__ == "__main__":
    main()
