"""Hugging Face checkpoints of the Llama and Mistral architectures: config.json and safetensors."""

import contextlib
import json
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.numpy

from im_jax.config import ModelConfig, RopeScaling
from im_jax.errors import CheckpointError
from im_jax.models import stored
from im_jax.models.attention.layer import head_dim
from im_jax.models.decoder import Params

_SINGLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_FLOATS: Final = ("F32", "BF16", "F16")

# What these architectures assume where config.json says nothing, as transformers does.
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "LlamaForCausalLM": {"max_position_embeddings": 2048},
    "MistralForCausalLM": {
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
    },
}
# Variations that the decoder does not have: key -> the only value it can take.
_FIXED: Final[dict[str, Any]] = {
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "quantization_config": None,
}


def read_config(directory: str | Path) -> dict[str, Any]:
    """Architecture of a checkpoint, as fields of `ModelConfig`.

    Reads both forms of rotary settings: `rope_parameters` (transformers 5), and `rope_theta` with
    `rope_scaling`.

    Raises:
        CheckpointError: config.json is missing or broken, or asks for what the decoder does not have.
    """
    path = Path(directory) / "config.json"
    raw = _read_json(path)
    architecture = (raw.get("architectures") or [None])[0]
    if architecture not in _DEFAULTS:
        raise CheckpointError(
            f"{path}: architecture {architecture!r} is not supported; supported: {', '.join(_DEFAULTS)}"
        )
    raw = _DEFAULTS[architecture] | raw
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise CheckpointError(f"{path}: {key}={raw[key]!r} is not supported; it must be {value!r}")
    try:
        return {
            "vocab_size": raw["vocab_size"],
            "num_layers": raw["num_hidden_layers"],
            "embed_dim": raw["hidden_size"],
            "num_heads": raw["num_attention_heads"],
            "num_kv_heads": raw.get("num_key_value_heads") or raw["num_attention_heads"],
            "head_dim": raw.get("head_dim"),
            "mlp_dim": raw["intermediate_size"],
            "max_positions": raw["max_position_embeddings"],
            "norm_eps": raw.get("rms_norm_eps", 1e-6),
            "sliding_window": raw["sliding_window"] if architecture == "MistralForCausalLM" else None,
            "tie_embeddings": raw.get("tie_word_embeddings", False),
            **_read_rope(raw, path),
        }
    except KeyError as error:
        raise CheckpointError(f"{path}: field {error.args[0]!r} is missing") from None


def load_params(directory: str | Path, config: ModelConfig, shardings: Any) -> Params:
    """Parameters from `model.safetensors`, or from the shards that its index lists.

    Every process reads only the slices that its own devices hold.

    Args:
        directory: of the checkpoint.
        config: the model, as resolved by `checkpoints.resolve_model`.
        shardings: pytree of shardings from `decoder.param_shardings`.

    Returns:
        Parameters in `config.param_dtype`, whichever of float32, bfloat16 and float16 the files hold.

    Raises:
        CheckpointError: a file or tensor is missing, or a tensor is unexpected, of another shape or type.
    """
    directory = Path(directory)
    with contextlib.ExitStack() as stack:
        tensors: dict[str, Any] = {}
        for path in _files(directory):
            handle = stack.enter_context(_open(path))
            tensors |= {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
        _check(tensors, config, directory)
        return stored.read_params(config, shardings, lambda name, index: tensors[name][index])


def save_params(params: Params, config: ModelConfig, directory: str | Path) -> None:
    """Writes `config.json` and `model.safetensors`, in the parameters' own type.

    All parameters must be addressable by this process, and fit in its memory.

    Raises:
        CheckpointError: the model is not of the Llama family.
    """
    stored.check_family(config, directory)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_config_json(config), indent=2) + "\n"
    (directory / "config.json").write_text(text, encoding="utf-8")
    tensors = dict(stored.write_params(params))
    safetensors.numpy.save_file(tensors, directory / _SINGLE, metadata={"format": "pt"})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a {type(value).__name__}, not an object")
    return value


def _read_rope(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    rope = (
        {"rope_theta": raw.get("rope_theta", 10000.0)}
        | (raw.get("rope_scaling") or {})
        | (raw.get("rope_parameters") or {})
    )
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError(
            f"{path}: partial_rotary_factor={rope['partial_rotary_factor']} is not supported"
        )
    kind = rope.get("rope_type", rope.get("type", "default"))
    match kind:
        case "default":
            scaling = RopeScaling()
        case "linear":
            scaling = RopeScaling("linear", rope["factor"])
        case "llama3":
            scaling = RopeScaling(
                "llama3",
                rope["factor"],
                rope["low_freq_factor"],
                rope["high_freq_factor"],
                rope["original_max_position_embeddings"],
            )
        case _:
            raise CheckpointError(
                f"{path}: rotary scaling {kind!r} is not supported; supported: default, linear, llama3"
            )
    return {"rope_theta": float(rope["rope_theta"]), "rope_scaling": scaling}


def _files(directory: Path) -> list[Path]:
    if (directory / _SINGLE).is_file():
        return [directory / _SINGLE]
    index = directory / _INDEX
    if not index.is_file():
        raise CheckpointError(
            f"{directory}: has neither {_SINGLE} nor {_INDEX}; save other formats as safetensors first"
        )
    weights = _read_json(index).get("weight_map")
    if not isinstance(weights, dict):
        raise CheckpointError(f"{index}: has no weight_map")
    return [directory / name for name in sorted(set(weights.values()))]


def _open(path: Path) -> Any:
    try:
        return safetensors.safe_open(path, framework="numpy")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; {_INDEX} lists it") from None
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from None


def _check(tensors: dict[str, Any], config: ModelConfig, directory: Path) -> None:
    for name in list(tensors):
        # Buffers that old exports hold, and a second copy of a tied head, say nothing new.
        if name.endswith(".rotary_emb.inv_freq") or (config.tie_embeddings and name == "lm_head.weight"):
            del tensors[name]
    found = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
    embedding = found.get(stored.LAYOUT["embedding"].name)
    if embedding and embedding[0] != config.vocab_size:
        raise CheckpointError(
            f"{directory}: the checkpoint has a vocabulary of {embedding[0]}, but model.vocab_size is "
            f"{config.vocab_size}; leave model.vocab_size unset to take the checkpoint's"
        )
    expected = {name: shape for part in stored.file_shapes(config).values() for name, shape in part.items()}
    stored.check_tensors(expected, found, str(directory))
    for name, tensor in tensors.items():
        if tensor.get_dtype() not in _FLOATS:
            raise CheckpointError(
                f"{directory}: {name} has type {tensor.get_dtype()}; supported: {', '.join(_FLOATS)}"
            )


def _config_json(config: ModelConfig) -> dict[str, Any]:
    """config.json with rotary settings in the form that all versions of transformers read."""
    scaling = config.rope_scaling
    rope: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "llama3":
        rope |= {
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_positions,
        }
    windowed = config.sliding_window is not None
    return {
        "architectures": ["MistralForCausalLM" if windowed else "LlamaForCausalLM"],
        "model_type": "mistral" if windowed else "llama",
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.embed_dim,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": head_dim(config),
        "intermediate_size": config.mlp_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if scaling.kind == "none" else rope,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "torch_dtype": config.param_dtype,
        **({"sliding_window": config.sliding_window} if windowed else {}),
    }
