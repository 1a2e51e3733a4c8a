"""Attention within segments: each implementation against float64 NumPy, and what the programs hold."""

import functools
import math
import re
import types
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from im_jax.errors import ConfigError
from im_jax.models.attention import blocks, cudnn, full, splash
from im_jax.models.attention.dispatch import segment_attention
from im_jax.models.attention.spec import AttentionSpec
from im_jax.models.sharding import ShardingRules
from tests.subprocess_devices import run_on_devices

SIZE = 8
PLAIN = AttentionSpec()
IMPLEMENTATIONS: dict[str, Callable[..., jax.Array]] = {
    "full": full.attend,
    "blocks": blocks.attend,
    "blocks_of_8": functools.partial(blocks.attend, block=8),
    "splash": functools.partial(splash.attend, interpret=True),
}


class Case(NamedTuple):
    """Lengths of a row's examples, what is left is padding; heads; what attention computes."""

    length: int
    examples: tuple[tuple[int, ...], ...]
    groups: int = 4
    spec: AttentionSpec = PLAIN


CASES = {
    "packed": Case(21, ((5, 1, 7), (21,), ())),
    "grouped": Case(21, ((3, 11), (8, 8, 5)), groups=2),
    "one_group": Case(16, ((9, 7),), groups=1),
    "window": Case(27, ((5, 17), (27,)), groups=2, spec=AttentionSpec(window=6)),
    "window_of_one": Case(11, ((3, 5),), spec=AttentionSpec(window=1)),
    "window_beyond_the_row": Case(11, ((3, 5),), spec=AttentionSpec(window=50)),
    "one_token": Case(1, ((1,), ())),
    "scale": Case(21, ((5, 1, 7), (21,)), groups=2, spec=AttentionSpec(scale=0.3)),
    "softcap": Case(21, ((5, 1, 7), (21,)), groups=2, spec=AttentionSpec(softcap=2.0)),
    "all_of_it": Case(27, ((5, 17), (27,)), groups=2, spec=AttentionSpec(window=6, scale=0.9, softcap=3.0)),
}
LONG = Case(131, ((60, 70),), groups=2, spec=AttentionSpec(window=40, scale=0.5, softcap=4.0))
"""Above a block and a TPU's tile."""


def arrays(case: Case, dtype: Any = jnp.float32) -> tuple[list[jax.Array], np.ndarray]:
    """Query, key, value and the cotangent of the result; and segments."""
    rng = np.random.default_rng(len(case.examples) + case.length)
    rows = len(case.examples)
    shapes = [(rows, case.length, heads, SIZE) for heads in (4, case.groups, case.groups, 4)]
    # Scores of some size, so that attention is far from uniform.
    values = [jnp.asarray(rng.normal(0, 1.5, shape), dtype) for shape in shapes]
    segments = np.zeros((rows, case.length), np.int32)
    for row, examples in enumerate(case.examples):
        numbers = np.repeat(np.arange(1, len(examples) + 1), examples)
        segments[row, : len(numbers)] = numbers
    return values, segments


def exact(
    values: list[jax.Array], segments: np.ndarray, spec: AttentionSpec
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The result and the gradients of query, key and value in float64, one query at a time."""
    query, key, value, cotangent = (np.asarray(x, np.float64) for x in values)
    mixed, d_query, d_key, d_value = (np.zeros_like(x) for x in (query, query, key, value))
    rows, length, heads, size = query.shape
    scale = 1 / math.sqrt(size) if spec.scale is None else spec.scale
    for row, i, head in np.ndindex(rows, length, heads):
        group = head * key.shape[2] // heads
        of_one = [j for j in range(i + 1) if segments[row, j] == segments[row, i]]
        seen = [j for j in of_one if spec.window is None or i - j < spec.window]
        keys, vectors, upstream = key[row, seen, group], value[row, seen, group], cotangent[row, i, head]
        scores = scale * keys @ query[row, i, head]
        slope = np.ones_like(scores)
        if spec.softcap is not None:
            scores, slope = (
                spec.softcap * np.tanh(scores / spec.softcap),
                np.cosh(scores / spec.softcap) ** -2,
            )
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        mixed[row, i, head] = weights @ vectors
        d_scores = scale * slope * weights * (vectors @ upstream - mixed[row, i, head] @ upstream)
        d_query[row, i, head] = d_scores @ keys
        d_key[row, seen, group] += np.outer(d_scores, query[row, i, head])
        d_value[row, seen, group] += np.outer(weights, upstream)
    return mixed, d_query, d_key, d_value


def with_gradients(
    attend: Callable[..., jax.Array], values: list[jax.Array], segments: np.ndarray, spec: AttentionSpec
) -> tuple[jax.Array, ...]:
    """The result and the gradients, compiled."""

    @jax.jit
    def run(query: jax.Array, key: jax.Array, value: jax.Array, cotangent: jax.Array) -> tuple[Any, ...]:
        def of_arrays(*arrays: jax.Array) -> jax.Array:
            return attend(*arrays, jnp.asarray(segments), spec=spec)

        mixed, pull = jax.vjp(of_arrays, query, key, value)
        return mixed, *pull(cotangent)

    return run(*values)


@pytest.mark.parametrize(
    ("implementation", "case"),
    [(name, case) for name in ("full", "blocks_of_8", "splash") for case in CASES.values()]
    + [("blocks", LONG), ("splash", LONG)],
    ids=[f"{name}-{case}" for name in ("full", "blocks_of_8", "splash") for case in CASES]
    + ["blocks-long", "splash-long"],
)
def test_values_and_gradients_are_those_of_the_float64_formula(implementation: str, case: Case) -> None:
    values, segments = arrays(case)
    ours = with_gradients(IMPLEMENTATIONS[implementation], values, segments, case.spec)
    for result, expected in zip(ours, exact(values, segments, case.spec), strict=True):
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, rtol=0, atol=3e-6 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("implementation", ["full", "blocks", "splash"])
def test_bfloat16_stays_bfloat16_and_close(implementation: str) -> None:
    case = CASES["grouped"]
    values, segments = arrays(case, jnp.bfloat16)
    ours = with_gradients(IMPLEMENTATIONS[implementation], values, segments, PLAIN)
    for result, expected in zip(ours, exact(values, segments, PLAIN), strict=True):
        assert result.dtype == jnp.bfloat16
        error = np.abs(np.asarray(result, np.float64) - expected).max()
        assert error < 0.02 * np.abs(expected).max()


def test_blocks_keep_no_scores_and_have_no_square_buffer() -> None:
    rows, length, heads = 2, 1024, 2
    x = jax.ShapeDtypeStruct((rows, length, heads, SIZE), jnp.float32)
    segments = jax.ShapeDtypeStruct((rows, length), jnp.int32)

    def compiled(attend: Callable[..., jax.Array]) -> jax.stages.Compiled:
        """Several layers, so that what is kept from the forward to the backward pass counts."""

        def loss(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
            def layer(x: jax.Array, _: None) -> tuple[jax.Array, None]:
                return attend(x, key, value, segments, spec=PLAIN), None

            return jax.lax.scan(layer, query, length=4)[0].sum()

        return jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x, segments).compile()

    square, blockwise = compiled(full.attend), compiled(blocks.attend)
    for program, is_there in ((square, True), (blockwise, False)):
        assert bool(re.search(rf"f32\[(\d+,)*{length},{length}\]", program.as_text() or "")) == is_there
    memory = [program.memory_analysis().temp_size_in_bytes for program in (square, blockwise)]
    assert memory[1] < memory[0] / 4


def lowered(attend: Callable[..., jax.Array], platform: str, dtype: Any = jnp.bfloat16) -> str:
    """The program of value and gradients for a platform that need not be here."""
    shapes = [jax.ShapeDtypeStruct((2, 256, heads, 64), dtype) for heads in (4, 2, 2)]
    segments = jax.ShapeDtypeStruct((2, 256), jnp.int32)

    def loss(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        return attend(query, key, value, segments, spec=AttentionSpec(window=32)).astype(jnp.float32).sum()

    function = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    return function.trace(*shapes, segments).lower(lowering_platforms=(platform,)).as_text()


@pytest.fixture
def cudnn_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX asks the installed cuDNN for its version when it traces; this machine may have none."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91300)


@pytest.mark.usefixtures("cudnn_library")
def test_cudnn_calls_its_kernels_causally_forward_and_backward() -> None:
    text = lowered(cudnn.attend, "cuda")
    assert "__cudnn$fmhaScaleBiasSoftmax(" in text
    assert "__cudnn$fmhaScaleBiasSoftmaxBackward(" in text
    assert "CAUSAL" in text
    assert "dot_general" not in text


def test_splash_calls_its_kernels_forward_and_backward() -> None:
    text = lowered(splash.attend, "tpu")
    assert len(re.findall(r"@tpu_custom_call", text)) == 3  # forward, dq, dkv
    assert "256x256x" not in text


def on(platform: str, *shape: int) -> AbstractMesh:
    """A mesh of devices that are only described."""
    device = jax.sharding.AbstractDevice(device_kind=platform, num_cores=None, platform=platform)
    names, kinds = ("replica", "fsdp", "tensor"), (AxisType.Auto,) * 3
    return AbstractMesh(shape or (1, 1, 1), names, axis_types=kinds, abstract_device=device)


def program(
    mesh: AbstractMesh,
    implementation: str,
    rows: int = 4,
    spec: AttentionSpec = PLAIN,
    **rules: Any,
) -> str:
    """What is traced for `implementation` on the devices of `mesh`."""
    x = jax.ShapeDtypeStruct((rows, 512, 4, 64), jnp.bfloat16)
    segments = jax.ShapeDtypeStruct((rows, 512), jnp.int32)
    attend = functools.partial(
        segment_attention, spec=spec, implementation=implementation, rules=ShardingRules(**rules)
    )
    with jax.sharding.use_abstract_mesh(mesh):
        return str(jax.make_jaxpr(attend)(x, x, x, segments))


def test_auto_takes_splash_on_tpus_also_when_compiling_ahead_of_time_and_blocks_on_cpus() -> None:
    assert "pallas_call" in program(on("tpu"), "auto")
    assert "shard_map" in program(on("tpu", 1, 2, 2), "auto")
    on_cpu = program(on("cpu"), "auto")
    assert "pallas_call" not in on_cpu and "512,512]" not in on_cpu


@pytest.mark.parametrize(
    ("mesh", "rows", "rules"),
    [
        (on("tpu", 1, 8, 1), 4, {}),
        (on("tpu", 1, 2, 2), 4, {"batch": "replica", "length": "fsdp"}),
        (on("tpu", 1, 2, 2), 4, {"kv_heads": None}),
        (on("gpu"), 4, {}),  # described only: there is no GPU to ask
    ],
)
def test_auto_does_without_a_kernel_that_cannot_work(
    mesh: AbstractMesh, rows: int, rules: dict[str, Any]
) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        text = program(mesh, "auto", rows, **rules)
    assert "pallas_call" not in text and "dot_product_attention_fwd" not in text
    assert "dot_general" in text
    # On one device blocks serve; elsewhere all scores are kept, and not without a word.
    assert ("512,512]" in text) is bool(said) is (mesh.size > 1)


def test_a_warning_says_why_all_scores_are_kept() -> None:
    with pytest.warns(UserWarning, match=r"model.attention=full.*'batch' of size 4 does not divide by 8"):
        program(on("tpu", 1, 8, 1), "auto")


@pytest.mark.parametrize(
    ("mesh", "implementation", "rules", "message"),
    [
        (on("cpu"), "cudnn", {}, "model.attention is 'cudnn'.* needs NVIDIA GPUs, and the devices are cpu"),
        (on("gpu"), "splash", {}, "model.attention is 'splash'.* needs TPUs, and the devices are gpu"),
        (on("tpu", 1, 8, 1), "splash", {}, "'batch' of size 4 does not divide by 8"),
        (on("tpu", 1, 2, 2), "splash", {"kv_heads": None}, "keys of its own heads"),
        (on("cpu"), "flash", {}, "model.attention is 'flash'; it can be auto, full"),
    ],
)
def test_a_choice_that_cannot_work_is_refused_with_the_reason(
    mesh: AbstractMesh, implementation: str, rules: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        program(mesh, implementation, **rules)


def pretend_to_have_gpus(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    """What `jax.local_devices` gives on a machine with such NVIDIA GPUs."""
    gpu = types.SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(jax, "local_devices", lambda backend: [gpu])


@pytest.mark.usefixtures("cudnn_library")
@pytest.mark.parametrize(("shape", "split"), [((1, 1, 1), False), ((1, 2, 2), True)])
def test_auto_takes_cudnn_on_gpus_on_each_device_its_share(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], split: bool
) -> None:
    pretend_to_have_gpus(monkeypatch, "9.0")
    text = program(on("gpu", *shape), "auto")
    share = "bf16[2,512,2,64]" if split else "bf16[4,512,4,64]"
    assert re.search(rf":{re.escape(share)}\S* = dot_product_attention_fwd", text)


@pytest.mark.usefixtures("cudnn_library")
@pytest.mark.parametrize(
    ("capability", "length", "size", "dtype", "reason"),
    [
        ("8.0", 16, 64, jnp.bfloat16, None),
        ("7.5", 16, 64, jnp.bfloat16, "compute capability 8.0"),
        ("9.0", 16, 64, jnp.float32, "bfloat16 or float16"),
        ("9.0", 16, 60, jnp.bfloat16, "head dim"),
        ("9.0", 17, 64, jnp.bfloat16, "sequence length"),
    ],
)
def test_cudnn_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capability: str, length: int, size: int, dtype: Any, reason: str | None
) -> None:
    pretend_to_have_gpus(monkeypatch, capability)
    x = jnp.zeros((2, length, 4, size), dtype)
    found = cudnn.reason_against(x, x, jnp.zeros((2, length), jnp.int32), PLAIN, "gpu")
    assert (found is None) if reason is None else (reason in (found or ""))


@pytest.mark.usefixtures("cudnn_library")
def test_auto_passes_over_cudnn_where_scores_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_to_have_gpus(monkeypatch, "9.0")
    capped = AttentionSpec(softcap=50.0)
    assert "dot_product_attention_fwd" not in program(on("gpu"), "auto", spec=capped)
    with pytest.raises(
        ConfigError, match=r"cannot be used here: it has no bound for scores.*caps them at 50"
    ):
        program(on("gpu"), "cudnn", spec=capped)
    assert "dot_product_attention_fwd" in program(on("gpu"), "auto", spec=AttentionSpec(scale=0.1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, "model.sliding_window is 0; a token sees itself"),
        ({"scale": -1.0}, r"scale is -1.0; set a finite number above 0, or None for 1 / sqrt\(K\)"),
        ({"softcap": 0.0}, "softcap is 0.0; set a finite number above 0, or None for no bound"),
        ({"softcap": math.nan}, "softcap is nan"),
    ],
)
def test_an_attention_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AttentionSpec(**fields)


def test_eight_devices_attend_as_one_does() -> None:
    assert "same on 8 devices" in run_on_devices("tests.models.check_sharded_attention")
