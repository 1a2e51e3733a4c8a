"""Run with eight devices: a sharded optimiser step, with noise, computes what an unsharded one does, or skips."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from im_jax import mesh as meshes
from im_jax.config import LossConfig, MeshConfig
from im_jax.losses.policy import make_policy
from im_jax.models.embedding import noisy
from im_jax.models.sharding import ShardingRules
from im_jax.training import state as states
from im_jax.training.neftune import embedding_noise
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.partition import Frozen
from im_jax.training.step import make_train_step
from im_jax.training.told import constant_weights, teller
from tests.training.tiny import MODEL, fresh_params, random_examples, rows_of, tiny_config

MESHES = [MeshConfig(fsdp=8), MeshConfig(fsdp=4, tensor=2), MeshConfig(replica=2, fsdp=2, tensor=2)]
STEPS = 3


def run_steps(
    mesh_config: MeshConfig | None, accumulate: int, reduce_dtype: str = "float32"
) -> tuple[list[float], states.TrainState]:
    """Losses and gradient norms of a few AdamW steps, and the state after them, on the host."""
    config = tiny_config()
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, STEPS))
    rules = ShardingRules(reduce_dtype=reduce_dtype)
    loss = LossConfig(policy="im", reduction="example_mean", neftune_alpha=5.0)
    step = make_train_step(MODEL, loss, optimizer, accumulate=accumulate, rules=rules)
    batches = [rows_of(random_examples(seed, 24), [[i] for i in range(16)]) for seed in range(STEPS)]
    if mesh_config is None:
        auto = (AxisType.Auto,) * len(meshes.AXES)
        mesh = jax.make_mesh((1, 1, 1), meshes.AXES, axis_types=auto, devices=jax.devices()[:1])
    else:
        mesh = meshes.make_mesh(mesh_config)
    shardings = states.state_shardings(MODEL, optimizer, mesh, rules)
    numbers = []
    with jax.set_mesh(mesh):
        # Weights come from one program, so that what is compared is the step and not the initialiser.
        params = jax.device_put(jax.device_get(fresh_params()), shardings.params)
        state = states.state_from_params(params, optimizer, shardings)
        compiled = jax.jit(step, out_shardings=(shardings, None))
        told = teller(constant_weights(make_policy(loss)), seed=0, mesh=mesh)
        for number, batch in enumerate(batches, start=1):
            state, metrics = compiled(state, Frozen({}), meshes.put_batch(batch, mesh), told(number))
            numbers += [float(metrics.loss), float(metrics.grad_norm)]
        if mesh_config is not None:
            used = {str(x.sharding.spec) for x in jax.tree.leaves(state.params)}
            assert any("fsdp" in spec for spec in used), used
            assert mesh.shape["tensor"] == 1 or any("tensor" in spec for spec in used), used
    return numbers, jax.device_get(state)


def check_skipping() -> None:
    """A step whose loss is beyond all numbers changes no bit on any device, and is one program with others."""
    config, loss = tiny_config(), LossConfig(policy="im", reduction="sum")
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, STEPS))
    mesh, rules = meshes.make_mesh(MESHES[2]), ShardingRules()
    step = make_train_step(MODEL, loss, optimizer, accumulate=2, rules=rules, not_finite="skip")
    shardings = states.state_shardings(MODEL, optimizer, mesh, rules)
    told = teller(constant_weights(make_policy(loss)), seed=0, mesh=mesh)(1)
    with jax.set_mesh(mesh):
        state = states.state_from_params(
            jax.device_put(jax.device_get(fresh_params()), shardings.params), optimizer, shardings
        )
        compiled = jax.jit(step, out_shardings=(shardings, None))
        batch = meshes.put_batch(rows_of(random_examples(0, 24), [[i] for i in range(16)]), mesh)
        place = told.class_weights.sharding
        bad = told._replace(class_weights=jax.device_put(np.asarray(told.class_weights) * 3e38, place))
        state, _ = compiled(state, Frozen({}), batch, told)
        programs = compiled._cache_size()
        after, metrics = compiled(state, Frozen({}), batch, bad)
        assert bool(metrics.skipped) and int(after.step) == 2
        for a, b in zip(*map(jax.tree.leaves, (after[1:], state[1:])), strict=True):
            shards = zip(a.addressable_shards, b.addressable_shards, strict=True)
            assert all(np.asarray(x.data).tobytes() == np.asarray(y.data).tobytes() for x, y in shards)
        after, metrics = compiled(after, Frozen({}), batch, told)
        assert not bool(metrics.skipped) and int(after.step) == 3
        moved = zip(*map(jax.tree.leaves, (after.params, state.params)), strict=True)
        assert all(np.any(np.asarray(a) != np.asarray(b)) for a, b in moved)
        assert programs == compiled._cache_size()
    print("skipped: the same bits")


def drawn(mesh: Mesh) -> tuple[np.ndarray, str]:
    """Noise of some rows, and the program that makes it."""
    segments, rules = rows_of(random_examples(0, 24), [[i] for i in range(16)]).segments, ShardingRules()

    def draw(key: jax.Array, segments: jax.Array, nothing: jax.Array) -> jax.Array:
        noise = embedding_noise(key, segments, 5.0, MODEL.embed_dim)
        assert noise is not None
        return noisy(nothing, noise, rules)

    with jax.set_mesh(mesh):
        rows = meshes.batch_sharding(mesh)
        nothing = jax.device_put(np.zeros((*segments.shape, MODEL.embed_dim), np.float32), rows)
        key = jax.device_put(jax.random.key(0), NamedSharding(mesh, PartitionSpec()))
        compiled = jax.jit(draw).lower(key, jax.device_put(segments, rows), nothing).compile()
        return np.asarray(compiled(key, jax.device_put(segments, rows), nothing)), compiled.as_text()


def check_noise() -> None:
    """The same numbers on every mesh, each device drawing those of its own rows."""
    alone, _ = drawn(meshes.make_mesh(MeshConfig(replica=1, fsdp=1, tensor=8)))  # rows on all devices
    for mesh_config in MESHES:
        found, program = drawn(meshes.make_mesh(mesh_config))
        np.testing.assert_array_equal(found, alone)
        assert not any(word in program for word in ("all-gather(", "all-reduce(", "all-to-all(", "permute("))
    assert np.abs(alone).max() > 0.1
    print("noise: the same bits, nothing exchanged")


def main() -> None:
    check_noise()
    check_skipping()
    numbers, state = run_steps(None, accumulate=1)
    for mesh_config, accumulate in [(MESHES[0], 1), (MESHES[1], 1), (MESHES[1], 2), (MESHES[2], 1)]:
        other_numbers, other = run_steps(mesh_config, accumulate)
        np.testing.assert_allclose(other_numbers, numbers, rtol=2e-5)
        for (path, a), b in zip(
            jax.tree.leaves_with_path(other.params), jax.tree.leaves(state.params), strict=True
        ):
            # AdamW divides by the gradient's own size, so a parameter whose gradient is rounding noise
            # may move by the learning rate either way: compare the bulk, and bound the rest.
            rate = tiny_config().optimizer.learning_rate
            assert np.abs(a - b).max() <= 2 * STEPS * rate, path
            assert np.quantile(np.abs(a - b), 0.99) <= 1e-5, path
        print(f"{mesh_config}, {accumulate} micro-batches: equal")
    narrow, _ = run_steps(MESHES[2], accumulate=2, reduce_dtype="bfloat16")
    np.testing.assert_allclose(narrow, numbers, rtol=2**-8)  # of one rounding to bfloat16
    assert narrow != other_numbers
    print("summed in bfloat16: near")


if __name__ == "__main__":
    main()
