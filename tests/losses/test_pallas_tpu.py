"""The Pallas TPU kernel, interpreted on the CPU, against float64 NumPy; and compiled for TPUs where libtpu is."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic.interpret import interpret_pallas_call as interpreter
from jax.experimental.pallas import tpu as pltpu

from im_jax.losses.cross_entropy import api, linear_cross_entropy, pallas_tpu
from im_jax.losses.cross_entropy.pallas_tpu import Blocks, block_sizes, row_statistics, supported, vmem_bytes
from tests.jaxpr import equations
from tests.subprocess_devices import run_on_devices

TOLERANCE = {jnp.float32: 2e-6, jnp.bfloat16: 1e-5}


def inputs(n, d, v, dtype=jnp.float32, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(scale * rng.normal(size=(n, d)), dtype)
    head = jnp.asarray(rng.normal(size=(d, v)) / np.sqrt(d), dtype)
    return hidden, head, jnp.asarray(rng.integers(0, v, n), jnp.int32)


def reference(hidden, head, labels, count, softcap):
    """The three statistics in float64, with the factor that rounding errors of each are measured by."""
    logits = np.asarray(hidden[:count], np.float64) @ np.asarray(head, np.float64)
    if softcap is not None:
        logits = softcap * np.tanh(logits / softcap)
    rows = np.arange(count)
    top = logits.max(-1, keepdims=True)
    log_partition = (top + np.log(np.exp(logits - top).sum(-1, keepdims=True)))[:, 0]
    size = 1 + np.abs(logits).max(initial=0)
    statistics = log_partition, logits[rows, np.asarray(labels)[:count]], logits.sum(-1)
    return statistics, (size, size, 1 + np.abs(logits).sum(-1).max(initial=0))


def assert_correct(found, hidden, head, labels, count, softcap=None):
    n = len(labels)
    statistics, sizes = reference(hidden, head, labels, count, softcap)
    for name, expected, size in zip(found._fields, statistics, sizes, strict=True):
        values = np.asarray(getattr(found, name))
        assert values.shape == (n,) and values.dtype == np.float32
        error = np.abs(values[:count] - expected).max(initial=0)
        assert error <= TOLERANCE[hidden.dtype.type] * size, (name, error, size)
        assert np.all(values[count:] == 0), name


def interpreted(hidden, head, labels, count, softcap=None):
    return row_statistics(hidden, head, labels, jnp.int32(count), softcap=softcap, interpret=True)


@pytest.fixture
def small_blocks(monkeypatch):
    """Makes the kernel use these tiles, so that small arrays have many, ragged ones."""
    return lambda *sizes: monkeypatch.setattr(pallas_tpu, "block_sizes", lambda *_: Blocks(*sizes))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("n, d, v", [(252, 123, 507), (37, 16, 1200), (3, 5, 1), (1, 1, 129), (8, 7, 128)])
def test_awkward_sizes_agree_with_float64(n, d, v, softcap, dtype):
    hidden, head, labels = inputs(n, d, v, dtype)
    assert_correct(interpreted(hidden, head, labels, n, softcap), hidden, head, labels, n, softcap)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("d", [256, 300])
def test_a_tiled_depth_agrees_with_float64(d, dtype, small_blocks):
    small_blocks(256, 256, 128)
    hidden, head, labels = inputs(300, d, 507, dtype)
    assert_correct(interpreted(hidden, head, labels, 290, 5.0), hidden, head, labels, 290, 5.0)


def test_every_count_is_served_by_one_compilation():
    hidden, head, labels = inputs(1300, 9, 600)
    rows = block_sizes(1300, 9, 600, 4).rows
    compiled = jax.jit(functools.partial(row_statistics, softcap=None, interpret=True))
    for count in (0, 1, 255, 256, 257, rows - 1, rows, rows + 1, 1300):
        assert_correct(compiled(hidden, head, labels, jnp.int32(count)), hidden, head, labels, count)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_past_the_count_have_no_influence(bad, small_blocks):
    small_blocks(256, 128, 40)
    hidden, head, labels = inputs(600, 40, 200)
    count = 270
    clean = interpreted(hidden, head, labels, count)
    poisoned = interpreted(hidden.at[count:].set(bad), head, labels.at[count:].set(2**31 - 1), count)
    for a, b in zip(clean, poisoned, strict=True):
        np.testing.assert_array_equal(a, b)


def test_columns_past_the_vocabulary_do_not_count():
    """With logits near 0 a padded column is as large as a real one: log 130 instead of log 129."""
    hidden, head, labels = inputs(20, 16, 129, scale=1e-4)
    found = interpreted(hidden, head, labels, 20)
    np.testing.assert_allclose(found.log_partition, np.log(129), atol=1e-4)
    assert_correct(found, hidden, head, labels, 20)


@pytest.mark.parametrize("sign", [1, -1])
def test_logits_of_ten_thousand(sign, small_blocks):
    small_blocks(256, 128, 8)
    hidden = jnp.ones((4, 8), jnp.float32)
    head = jnp.full((8, 300), sign * 1250.0, jnp.float32).at[0, 7].add(3.0).at[0, 299].add(2.0)
    labels = jnp.asarray([0, 7, 128, 299], jnp.int32)
    assert_correct(interpreted(hidden, head, labels, 4), hidden, head, labels, 4)


def test_very_negative_logits_under_a_softcap():
    hidden, head = jnp.ones((2, 4), jnp.float32), jnp.full((4, 130), -1e6, jnp.float32)
    found = interpreted(hidden, head, jnp.asarray([0, 129], jnp.int32), 2, softcap=30.0)
    np.testing.assert_allclose(found.log_partition, np.log(130) - 30, rtol=1e-6)
    np.testing.assert_allclose(found.logit_sum, -30 * 130, rtol=1e-6)


@pytest.mark.parametrize("d", [24, 200])
@pytest.mark.parametrize("count", [0, 1, 257, 520])
def test_memory_is_used_without_races_and_only_once_initialised(count, d, small_blocks):
    """The TPU interpreter fills memory that was never written with NaN and watches reads and writes."""
    small_blocks(256, 128, min(d, 128))
    hidden, head, labels = inputs(520, d, 300)
    with pltpu.force_tpu_interpret_mode(pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")):
        found = row_statistics(hidden, head, labels, jnp.int32(count), softcap=None)
        assert_correct(found, hidden, head, labels, count)
    assert interpreter.races is not None and not interpreter.races.races_found


def test_tiles_stay_within_the_budget_and_prefer_many_rows():
    for d in (64, 2304, 4096, 8192, 16384, 50000):
        for itemsize in (2, 4):
            blocks = block_sizes(8192, d, 128256, itemsize)
            assert vmem_bytes(blocks, d, itemsize) <= pallas_tpu.VMEM_BUDGET
            assert blocks.rows % 256 == 0 and blocks.vocabulary % 128 == 0
            assert blocks.depth == d or blocks.depth % 128 == 0
    assert block_sizes(8192, 4096, 128256, 2) == Blocks(1024, 512, 4096)
    assert block_sizes(8192, 4096, 128256, 2, budget=2**23).depth < 4096


def test_what_is_not_supported_is_said_in_words():
    hidden, head, labels = inputs(4, 8, 16)
    assert supported(hidden, head) is None
    assert supported(hidden.astype(jnp.bfloat16), head.astype(jnp.bfloat16)) is None
    assert "float16" in supported(hidden.astype(jnp.float16), head.astype(jnp.float16))
    assert "bfloat16" in supported(hidden, head.astype(jnp.bfloat16))
    assert "empty" in supported(hidden[:0], head)
    with pytest.raises(ValueError, match="bfloat16"):
        interpreted(hidden, head.astype(jnp.bfloat16), labels, 4)


def test_evaluation_uses_it_with_parameters_of_float32(monkeypatch):
    monkeypatch.setattr(api, "platform", lambda: "tpu")
    monkeypatch.setattr(api, "device_kind", lambda: "TPU v5 lite")
    hidden, head, labels = inputs(8, 16, 32, jnp.bfloat16)
    traced = jax.make_jaxpr(linear_cross_entropy)(hidden, head.astype(jnp.float32), labels, jnp.ones(8))
    assert any(equation.primitive.name == "pallas_call" for equation, _ in equations(traced.jaxpr))


def test_the_compiler_takes_it_for_three_kinds_of_tpu(monkeypatch):
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("the TPU compiler is not here: pip install libtpu")
    # Without it libtpu looks for the metadata server of a TPU machine.
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    output = run_on_devices("tests.losses.check_pallas_compiles", devices=1)
    assert output.count("compiled") == 9, output
