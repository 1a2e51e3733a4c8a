"""Who takes part in each benchmark: names, modules, and the packages they need."""

import difflib
from typing import Final, NamedTuple

from im_jax.errors import ConfigError


class Method(NamedTuple):
    """A contestant as the orchestrator knows it, without loading it."""

    module: str
    """In `im_jax.bench.contestants`."""
    variant: str
    """What its `make` is told."""
    packages: tuple[str, ...]
    """Modules without which loading it is not even tried."""


_SEQUENTIAL: Final = {"XLA_FLAGS": "--xla_cpu_enable_concurrency_optimized_scheduler=false"}
CONDITIONS: Final = {
    "malloc": {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "500000000",
    },
    "launch": {
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:"
        "glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=500000000",
        **_SEQUENTIAL,
    },
    "two_devices": {"JAX_NUM_CPU_DEVICES": "2", **_SEQUENTIAL},
}
"""`NAME:CONDITION` is the contestant with settings that are fixed when a process starts: `malloc` lets the C
library keep freed memory, `launch` are the settings of `launch/cpu_debug.sh`, `two_devices` makes two of a
CPU, for half of the rows each."""
MATMULS: Final = tuple(
    f"matmul:{library}:{dtype}" for library in ("jax", "torch") for dtype in ("float32", "bfloat16")
)
REFERENCES: Final = {
    "cross_entropy": Method("cross_entropy_values", "", ()),
    "attention": Method("attention_values", "", ()),
    "train_step": Method("small_llama", "", ("jax",)),
    "lora": Method("small_llama", "", ("jax",)),
    "rewrites": Method("small_gpt2", "", ("jax",)),
    "prepare": Method("prepare_records", "", ()),
    "likelihood": Method("small_llama", "", ("jax",)),
    "generate": Method("small_llama", "", ("jax",)),
}
"""What runs before the others and is not timed: expected values, or the initial weights."""
BASELINES: Final = {
    "cross_entropy": "optax",
    "attention": "dot_product_attention",
    "train_step": "transformers",
    "lora": "peft",
    "rewrites": "transformers",
    "prepare": "trl",
    "likelihood": "hf_16",
    "generate": "transformers_64",
}


def _methods(module: str, packages: tuple[str, ...], *names: str) -> dict[str, Method]:
    return {name: Method(module, name, packages) for name in names}


_MATMULS: Final = {
    name: Method("matmul", name.removeprefix("matmul:"), (name.split(":")[1],)) for name in MATMULS
}
_METHODS: Final[dict[str, dict[str, Method]]] = {
    "cross_entropy": {
        "im_jax": Method("cross_entropy_jax", "im_jax:auto", ("jax",)),
        "im_jax_full_logits": Method("cross_entropy_jax", "im_jax:full_logits", ("jax",)),
        **_methods("cross_entropy_jax", ("jax", "optax"), "optax", "optax_cast", "scan_recompute"),
        **_methods(
            "cross_entropy_jax", ("tokamax",), "tokamax:xla", "tokamax:chunked_xla", "tokamax:mosaic_tpu"
        ),
        **_methods("cross_entropy_torch", ("torch",), "torch", "torch_compact"),
        **_methods("cross_entropy_torch", ("torch",), "torch_chunked", "torch_chunked_compact"),
        **_methods("cross_entropy_torch", ("torch",), "liger", "liger_compact"),
        **_methods("cross_entropy_torch", ("torch",), "cce", "cce_exact", "cce_compact"),
        **_MATMULS,
    },
    "attention": {
        "im_jax": Method("attention_jax", "im_jax:auto", ("jax",)),
        **_methods(
            "attention_jax", ("jax",), "im_jax:full", "im_jax:blocks", "im_jax:cudnn", "im_jax:splash"
        ),
        **_methods("attention_jax", ("jax",), "dot_product_attention"),
        **_methods("attention_torch", ("torch",), "torch_sdpa"),
        **_MATMULS,
    },
    "train_step": {
        **_methods("train_step_im_jax", ("jax",), "im_jax", "im_jax_optax"),
        **_methods(
            "train_step_transformers",
            ("torch", "transformers"),
            "transformers",
            "transformers_compact",
            "transformers:bf16_weights",
        ),
        **_methods("train_step_trl", ("torch", "transformers", "trl", "datasets"), "trl"),
        **_methods("train_step_tunix", ("jax", "tunix"), "tunix"),
        **_MATMULS,
    },
    "lora": {
        **_methods("train_step_im_jax", ("jax",), "im_jax", "im_jax_whole"),
        **_methods("lora_peft", ("torch", "transformers", "peft"), "peft", "peft_compact"),
        **_MATMULS,
    },
    "rewrites": {
        **_methods("rewrites_im_jax", ("jax",), "im_jax", "im_jax_with_data"),
        **_methods("rewrites_transformers", ("torch", "transformers"), "transformers"),
        **_MATMULS,
    },
    "prepare": {
        **_methods("prepare_im_jax", (), "im_jax"),
        **_methods("prepare_trl", ("torch", "transformers", "trl", "datasets"), "trl"),
    },
    "generate": {
        **_methods("generate_im_jax", ("jax",), "im_jax"),
        **_methods("generate_transformers", ("torch", "transformers"), "transformers_16", "transformers_64"),
    },
    "likelihood": {
        **_methods("likelihood_im_jax", ("jax",), "im_jax"),
        **_methods(
            "likelihood_hf", ("torch", "transformers", "lm_eval", "accelerate"), "hf_1", "hf_16", "hf_64"
        ),
    },
}
_IN_CONDITIONS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "train_step": {
        "malloc": ("transformers", "transformers_compact", "trl"),
        "launch": ("im_jax", "transformers", "transformers_compact"),
    },
    "lora": {
        "malloc": ("peft", "peft_compact"),
        "launch": ("im_jax", "im_jax_whole", "peft", "peft_compact"),
    },
    "rewrites": {
        "malloc": ("transformers",),
        "launch": ("im_jax", "im_jax_with_data", "transformers"),
        "two_devices": ("im_jax", "im_jax_with_data"),
    },
}
"""Methods that run in these conditions too unless methods are named."""
BENCHMARKS: Final = tuple(_METHODS)


def default_methods(benchmark: str) -> list[str]:
    """All of a benchmark, and the second condition where memory allocation decides much."""
    names = list(_METHODS[benchmark])
    for condition, some in _IN_CONDITIONS.get(benchmark, {}).items():
        names += [f"{name}:{condition}" for name in some]
    return names


def find_method(benchmark: str, name: str) -> tuple[Method, dict[str, str]]:
    """The method called `name` or `name:CONDITION`, and the environment variables it wants.

    Raises:
        ConfigError: there is none, naming those there are.
    """
    known = _METHODS[benchmark]
    plain, _, condition = name.rpartition(":")
    if condition not in CONDITIONS:
        plain, condition = name, ""
    if plain in known:
        return known[plain], CONDITIONS.get(condition, {})
    near = difflib.get_close_matches(plain, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"--methods: {benchmark} has no method {name!r}; {hint}It has {', '.join(known)}")
