"""Compiles small steps for TPUs that are not here: the shape of check_tpu_memory, in seconds.

Its process needs libtpu.
"""

import dataclasses
import math
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from configs import llama2_7b
from im_jax import mesh as meshes
from im_jax.config import MeshConfig, ModelConfig
from im_jax.models import presets
from im_jax.models.sharding import ShardingRules
from im_jax.pods.collectives import collective_bytes
from im_jax.training.program import abstract_arguments, make_program
from tests.hlo import buffers

MODEL = dataclasses.replace(
    presets.llama2_7b(),
    vocab_size=32768,
    num_layers=6,
    embed_dim=2048,
    num_heads=16,
    num_kv_heads=16,
    mlp_dim=5504,
    compute_dtype="bfloat16",
    remat="full",
)
DEVICES = 8
LENGTH = 512
LAYER = 4 * 2048 * 2048 + 3 * 2048 * 5504
HEAD = 2048 * 32768


def compiled_step(model: ModelConfig, mesh: Mesh, rows: int, length: int, *, reduce_dtype: str) -> Any:
    """A step of `configs/llama2_7b.py` with another model, compiled for a mesh; the state is donated."""
    config = llama2_7b.get_config()
    config.model, config.data.max_length, config.train.batch_size = model, length, rows
    rules = ShardingRules(reduce_dtype=reduce_dtype)
    program = make_program(config, mesh, rules, 100)
    with jax.set_mesh(mesh):
        return program.train_step.lower(*abstract_arguments(config, program, mesh, rules)).compile()


def check_parts_of_feed_forwards(mesh: Mesh) -> None:
    """Of many tokens a device keeps no whole inner array, and sends nothing more for it."""
    rows = 8
    compiled = compiled_step(MODEL, mesh, DEVICES * rows, 2048, reduce_dtype="bfloat16")
    program = compiled.as_text()
    shapes = buffers(program, "bf16") | buffers(program, "f32")
    assert (rows, 2048, 5504 // 2) in shapes
    assert not {shape for shape in shapes if math.prod(shape) == rows * 2048 * 5504}
    sent, weights = collective_bytes(program), 6 * LAYER + HEAD
    assert sent["all-gather"] <= 1.01 * 2 * (2 * 6 * LAYER + HEAD), sent
    assert sent["all-reduce"] + sent["reduce-scatter"] <= 1.15 * 2 * weights, sent


def main() -> None:
    devices = topologies.get_topology_desc("v5e:2x4", "tpu").devices
    mesh = meshes.make_mesh(MeshConfig(), devices)
    weights = 6 * LAYER + HEAD
    for reduce_dtype, size in (("float32", 4), ("bfloat16", 2)):
        compiled = compiled_step(MODEL, mesh, DEVICES, LENGTH, reduce_dtype=reduce_dtype)
        program = compiled.as_text()
        sent = collective_bytes(program)
        # A weight is gathered forward and backward in bfloat16, the head once, the embedding never.
        gathered = 2 * (2 * 6 * LAYER + HEAD)
        assert gathered <= sent["all-gather"] <= 1.01 * gathered, sent
        # Lengths that are no multiple of a tile are filled up, here by an eighth.
        summed = sent["all-reduce"] + sent["reduce-scatter"]
        assert size * weights <= summed <= 1.15 * size * weights, (summed, sent)
        # Neither the narrow weights of all layers, nor a whole embedding or its gradient.
        assert not {shape for shape in buffers(program, "bf16") if shape[0] == 6 and 2048 // DEVICES in shape}
        for dtype in ("f32", "bf16"):
            assert (32768, 2048) not in buffers(program, dtype), dtype
    check_parts_of_feed_forwards(mesh)
    print("small steps for TPUs: lean")


if __name__ == "__main__":
    main()
