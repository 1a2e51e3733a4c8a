"""Compiles the Pallas TPU kernel ahead of time, for kinds of TPU and shapes of models; run in its own process.

Needs libtpu but no TPU: TPU_SKIP_MDS_QUERY=1 JAX_PLATFORMS=cpu python -m tests.losses.check_pallas_compiles
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from im_jax.losses.cross_entropy.pallas_tpu import row_statistics

TOPOLOGIES = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2")
# N, D, V and softcap.
SHAPES = {
    "Llama 3 8B": (4096, 4096, 128256, None),
    "Llama 2 7B": (8192, 4096, 32000, None),
    "Gemma 2 2B": (8192, 2304, 256128, 30.0),
}


def main() -> None:
    for topology in TOPOLOGIES:
        device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
        sharding = jax.sharding.SingleDeviceSharding(device)
        array = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
        for model, (n, d, v, softcap) in SHAPES.items():
            arguments = (
                array((n, d), jnp.bfloat16),
                array((d, v), jnp.bfloat16),
                array((n,), jnp.int32),
                array((), jnp.int32),
            )
            compiled = jax.jit(functools.partial(row_statistics, softcap=softcap)).lower(*arguments).compile()
            temporary = compiled.memory_analysis().temp_size_in_bytes
            logits = n * v * 4
            assert temporary < logits / 100, f"{model} on {topology}: {temporary} bytes of temporary memory"
            print(f"{topology} {model}: compiled, {temporary / 2**20:.1f} MiB of temporary memory")


if __name__ == "__main__":
    main()
