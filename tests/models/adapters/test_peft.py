"""Adapters in PEFT's files: what they change is what their product added to the base's own tensors gives."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import SingleDeviceSharding

from im_jax.config import LoraConfig, ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models import decoder, huggingface
from im_jax.models.adapters.lora import A, B, is_adapter, scale
from im_jax.models.adapters.peft.config import CONFIG
from im_jax.models.adapters.peft.reading import WEIGHTS, read_adapter, with_adapter_of
from im_jax.models.adapters.peft.writing import adapter_files
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.files.layout import by_path
from im_jax.models.files.safetensors_writing import write_file
from im_jax.training.partition import split

SIZES: dict[str, Any] = {
    **{"vocab_size": 20, "num_layers": 3, "embed_dim": 12, "mlp_dim": 10, "max_positions": 16},
    **{"num_heads": 3, "num_kv_heads": 3, "head_dim": 4},
}
FAMILIES: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"num_kv_heads": 1, "head_dim": 6},
    "Qwen2ForCausalLM": {"biases": "qkv"},
    "Phi3ForCausalLM": {"num_kv_heads": 1, "head_dim": 6},
    "GPT2LMHeadModel": {
        **{"norm": "layer", "mlp": "gelu", "positions": "learned", "biases": "all", "head_dim": None},
        "tie_embeddings": True,
    },
    "GPTNeoXForCausalLM": {"norm": "layer", "mlp": "gelu_exact", "biases": "all", "parallel": True},
    "OPTForCausalLM": {
        **{"norm": "layer", "mlp": "relu", "positions": "learned", "position_offset": 2, "biases": "all"},
        **{"head_dim": None, "embedding_width": 8},
    },
}
MODULES = {
    "LlamaForCausalLM": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "Qwen2ForCausalLM": ["q_proj", "k_proj", "v_proj"],
    "Phi3ForCausalLM": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "GPT2LMHeadModel": ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"],
    "GPTNeoXForCausalLM": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "OPTForCausalLM": ["q_proj", "out_proj", "fc1", "fc2"],
}
RANK = 2


def save_base(folder: Path, family: str, **changes: Any) -> ModelConfig:
    """A random model of a family, in a folder."""
    model = ModelConfig(**{"family": family, **SIZES, **FAMILIES[family], **changes})
    rng = np.random.default_rng(7)
    random = jax.tree.map(
        lambda array: rng.normal(0, 0.1, array.shape).astype(array.dtype), decoder.abstract_params(model)
    )
    huggingface.save_params(random, model, folder)
    return resolve_model(ModelConfig(path=str(folder), compute_dtype="float32"))


def shardings(model: ModelConfig) -> Any:
    device = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda _: device, decoder.abstract_params(model))


def save_adapter(base: Path, folder: Path, **keys: Any) -> dict[str, np.ndarray]:
    """A random adapter of all modules that `target_modules` names.

    Returns:
        The tensors of the base with the adapter's product added, by their names.
    """
    told = {"peft_type": "LORA", "r": RANK, "lora_alpha": 5, **keys}
    merged = safetensors.numpy.load_file(base / "model.safetensors")
    rng, tensors = np.random.default_rng(0), {}
    for name, weight in merged.items():
        module = name.removesuffix(".weight")
        if weight.ndim < 2 or not any(module.endswith(f".{end}") for end in told["target_modules"]):
            continue
        given = next((r for end, r in told.get("rank_pattern", {}).items() if module.endswith(end)), RANK)
        alpha = next((a for end, a in told.get("alpha_pattern", {}).items() if module.endswith(end)), 5)
        (out, into) = weight.shape[::-1] if told.get("fan_in_fan_out") else weight.shape
        a, b = rng.normal(size=(given, into)), rng.normal(size=(out, given))
        factor = alpha / (math.sqrt(given) if told.get("use_rslora") else given)
        product = factor * b.astype(np.float32) @ a.astype(np.float32)
        merged[name] = weight + (product.T if told.get("fan_in_fan_out") else product)
        tensors[f"base_model.model.{module}.lora_A.weight"] = a.astype(np.float32)
        tensors[f"base_model.model.{module}.lora_B.weight"] = b.astype(np.float32)
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(told))
    safetensors.numpy.save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    return merged


def read(folder: Path, base: ModelConfig) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    model, _ = with_adapter_of(folder, base)
    wanted, _ = split(shardings(model), is_adapter)
    return model, {path: np.asarray(x) for path, x in by_path(read_adapter(folder, model, wanted)).items()}


def changes(model: ModelConfig, adapter: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """s A B of each adapted map, all layers."""
    factor = scale(model.lora)
    return {
        path.removesuffix(A): factor
        * np.stack([np.tensordot(a, b, 1) for a, b in zip(value, adapter[path[: -len(A)] + B], strict=True)])
        for path, value in adapter.items()
        if path.endswith(A)
    }


def write(folder: Path, model: ModelConfig, adapter: dict[str, np.ndarray]) -> dict[str, Any]:
    folder.mkdir()
    files = adapter_files(model, adapter.__getitem__, "base")
    (folder / CONFIG).write_text(json.dumps(files.config))
    write_file(folder / WEIGHTS, files.shapes, "float32", files.tensors)
    return files.config


def random_adapter(model: ModelConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    arrays = by_path(decoder.abstract_params(model))
    return {
        path: rng.normal(size=array.shape).astype(np.float32)
        for path, array in arrays.items()
        if is_adapter(path)
    }


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        *((family, {}) for family in FAMILIES),
        ("Phi3ForCausalLM", {"use_rslora": True}),
        ("LlamaForCausalLM", {"rank_pattern": {"v_proj": 4, "up_proj": 1}, "alpha_pattern": {"k_proj": 3}}),
        ("LlamaForCausalLM", {"rank_pattern": {"v_proj": 4}, "use_rslora": True}),
    ],
)
def test_maps_change_as_their_module_does(family: str, keys: dict[str, Any], tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", family)
    keys = {"target_modules": MODULES[family], "fan_in_fan_out": family.startswith("GPT2"), **keys}
    merged = save_adapter(tmp_path / "base", tmp_path / "adapter", **keys)
    weights = by_path(load_pretrained(base, shardings(base)))
    safetensors.numpy.save_file(merged, tmp_path / "base" / "model.safetensors")
    expected = by_path(load_pretrained(base, shardings(base)))
    model, adapter = read(tmp_path / "adapter", base)
    changed = changes(model, adapter)
    assert changed.keys() >= {"layers.attention.query"}
    for path, weight in weights.items():
        change = changed.get(path, 0)
        np.testing.assert_allclose(weight + change, expected[path], atol=2e-5, err_msg=path)

    written = write(tmp_path / "ours", model, adapter)
    if not keys.get("rank_pattern"):
        assert (written["r"], written["lora_alpha"], written["rank_pattern"]) == (RANK, 5, {})
        assert sorted(written["target_modules"]) == sorted(MODULES[family])
        assert written["fan_in_fan_out"] == keys["fan_in_fan_out"]
        assert list(written) == sorted(written)
        one, two = (safetensors.numpy.load_file(tmp_path / side / WEIGHTS) for side in ("adapter", "ours"))
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, two[name], err_msg=name)
    again = changes(*read(tmp_path / "ours", base))
    for path, change in changed.items():
        np.testing.assert_allclose(again[path], change, rtol=1e-6, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("targets", ["all-linear", "query,value", "query,key,value,gate,up", "gate,down"])
@pytest.mark.parametrize(
    "family", ["LlamaForCausalLM", "Phi3ForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM"]
)
def test_maps_of_one_module_are_stacked(family: str, targets: str, rslora: bool, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", family)
    lora = LoraConfig(rank=RANK, alpha=3.0, rslora=rslora, targets=targets)
    model = dataclasses.replace(base, lora=lora)
    adapter = random_adapter(model)
    written = write(tmp_path / "ours", model, adapter)
    for module in written["target_modules"]:
        rank, alpha = (
            written[pattern].get(module, written[key])
            for pattern, key in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha"))
        )
        factor = alpha / (math.sqrt(rank) if written["use_rslora"] else rank)
        assert factor == pytest.approx(scale(lora), rel=1e-12)
    if not written["use_rslora"]:  # so that readers of one rank and alpha scale all modules as they should
        assert written["lora_alpha"] / written["r"] == pytest.approx(scale(lora), rel=1e-12)
    again = changes(*read(tmp_path / "ours", base))
    expected = changes(model, adapter)
    assert again.keys() >= expected.keys()
    for path, change in again.items():
        wanted = expected.get(path, np.zeros_like(change))
        np.testing.assert_allclose(change, wanted, rtol=1e-5, atol=1e-5, err_msg=path)


def test_layers_and_modules_that_are_left_out_do_not_change(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "LlamaForCausalLM")
    save_adapter(
        tmp_path / "base", tmp_path / "adapter", target_modules=["layers.1.self_attn.q_proj", "down_proj"]
    )
    model, adapter = read(tmp_path / "adapter", base)
    assert model.lora.targets == "query,down"
    for path in ("layers.attention.query_lora_a", "layers.attention.query_lora_b"):
        assert [bool(layer.any()) for layer in adapter[path]] == [False, True, False]
    for keys in (
        {"target_modules": r"model\.layers\.1\.self_attn\.q_proj|.*\.down_proj"},
        {"target_modules": ["q_proj", "down_proj"], "exclude_modules": r".*layers\.[02]\.self_attn.*"},
    ):
        told = json.loads((tmp_path / "adapter" / CONFIG).read_text()) | keys
        (tmp_path / "adapter" / CONFIG).write_text(json.dumps(told))
        again = read(tmp_path / "adapter", base)
        assert again[0] == model
        jax.tree.map(np.testing.assert_array_equal, again[1], adapter)


def test_a_module_that_shares_its_last_name_is_told_by_more(tmp_path: Path) -> None:
    model = save_base(tmp_path / "base", "GPT2LMHeadModel")
    for targets, ends in (("output", ["attn.c_proj"]), ("down", ["mlp.c_proj"]), ("query", ["c_attn"])):
        adapted = dataclasses.replace(model, lora=LoraConfig(rank=1, targets=targets))
        assert (
            adapter_files(adapted, random_adapter(adapted).__getitem__, "").config["target_modules"] == ends
        )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"peft_type": "IA3"}, 'peft_type is "IA3"; it must be "LORA"'),
    "dora": ({"use_dora": True}, "use_dora is true: DoRA is not read; merge it"),
    "pissa": ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model_for_weight_conversion"),
    "olora": (
        {"init_lora_weights": "olora"},
        'init_lora_weights is "olora": such an adapter is of a base that',
    ),
    "saved": ({"modules_to_save": ["lm_head"]}, "modules trained beside the adapter is not read; merge it"),
    "tokens": ({"trainable_token_indices": [3]}, "trainable_token_indices is"),
    "bias": ({"bias": "lora_only"}, 'bias is "lora_only"; it must be "none"'),
    "own bias": ({"lora_bias": True}, "lora_bias is true"),
    "parameters": ({"target_parameters": ["experts.up"]}, "target_parameters is"),
    "head": (
        {"target_modules": ["q_proj", "lm_head"]},
        "changes lm_head, but adapters of maps of the layers",
    ),
    "embedding": ({"target_modules": ["q_proj", "embed_tokens"]}, "changes model.embed_tokens"),
    "no module": (
        {"target_modules": ["c_attn"]},
        "changes no module of this model, which has model.layers.0",
    ),
    "no targets": ({"target_modules": None}, "target_modules is null; it must be a list of names"),
    "numbers": ({"target_modules": [3]}, "target_modules is [3]; it must be a list of names"),
    "expression": ({"target_modules": "(q_proj"}, "is no regular expression"),
    "pattern": ({"rank_pattern": {"(q": 3}}, 'rank_pattern: "(q" is no regular expression'),
    "pattern's rank": (
        {"rank_pattern": {"q_proj": 0}},
        "rank_pattern.q_proj is 0; it must be a whole number",
    ),
    "rank": ({"r": 2.5}, "r is 2.5; it must be a whole number"),
    "other rank": ({"r": 3}, "has shape (2, 12), but the model's sizes make it (3, 12)"),
    "alpha": ({"lora_alpha": -1}, "lora_alpha is -1; it must be a number"),
    "layers": ({"layers_to_transform": ["1"]}, "layers_to_transform is"),
    "more modules": (
        {"target_modules": ["q_proj", "v_proj"]},
        "missing 6 tensors: base_model.model.model.layers.0",
    ),
    "fewer layers": ({"layers_to_transform": 1}, "unexpected 4 tensors"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, Path]:
    folder = tmp_path_factory.mktemp("peft")
    base = save_base(folder / "base", "LlamaForCausalLM")
    save_adapter(folder / "base", folder / "adapter", target_modules=["q_proj"])
    return base, folder / "adapter"


def with_files(saved: Path, folder: Path, keys: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """A copy of an adapter with some keys and tensors in place of its own."""
    told = json.loads((saved / CONFIG).read_text()) | keys
    (folder / CONFIG).write_text(json.dumps(told))
    found = safetensors.numpy.load_file(saved / WEIGHTS) | tensors
    safetensors.numpy.save_file(found, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_more_than_lora_is_refused(
    name: str, saved: tuple[ModelConfig, Path], tmp_path: Path
) -> None:
    keys, message = REFUSED[name]
    base, adapter = saved
    with pytest.raises(CheckpointError) as caught:
        with_adapter_of(with_files(adapter, tmp_path, keys, {}), base)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


Q = "base_model.model.model.layers.0.self_attn.q_proj."
FAULTS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "NaN": ({Q + "lora_A.weight": np.full((2, 12), np.nan, np.float32)}, "q_proj.lora_A.weight holds NaN"),
    "shape": ({Q + "lora_B.weight": np.zeros((2, 18), np.float32)}, "has shape (2, 18), but"),
    "type": ({Q + "lora_B.weight": np.zeros((18, 2), np.int32)}, "has type I32"),
    "magnitude": ({Q + "lora_magnitude_vector": np.zeros(18, np.float32)}, "unexpected 1 tensor"),
    "another": (
        {Q.replace("0", "3") + "lora_B.weight": np.zeros((18, 2), np.float32)},
        "unexpected 1 tensor",
    ),
    "embedding": (
        {"base_model.model.model.embed_tokens.weight": np.zeros((20, 12), np.float32)},
        "holds model.embed_tokens.weight, which was trained or enlarged beside the adapter and is not read",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_tensors_that_do_not_fit_are_refused(
    name: str, saved: tuple[ModelConfig, Path], tmp_path: Path
) -> None:
    tensors, message = FAULTS[name]
    base, adapter = saved
    with pytest.raises(CheckpointError) as caught:
        read(with_files(adapter, tmp_path, {}, tensors), base)
    assert message in str(caught.value)
    assert WEIGHTS in str(caught.value)


def test_folders_without_weights_say_what_to_do(saved: tuple[ModelConfig, Path], tmp_path: Path) -> None:
    base, adapter = saved
    with pytest.raises(CheckpointError, match=r"has no adapter_config\.json, so it is no adapter"):
        with_adapter_of(tmp_path, base)
    (tmp_path / CONFIG).write_bytes((adapter / CONFIG).read_bytes())
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}: missing"):
        with_adapter_of(tmp_path, base)
    (tmp_path / "adapter_model.bin").touch()
    with pytest.raises(CheckpointError, match=r"has adapter_model\.bin, but .* python -c .*save_file"):
        with_adapter_of(tmp_path, base)
    (tmp_path / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        with_adapter_of(tmp_path, base)


def test_keys_of_another_version_are_told(saved: tuple[ModelConfig, Path], tmp_path: Path) -> None:
    base, adapter = saved
    folder = with_files(adapter, tmp_path, {"use_something_new": [1], "another": None}, {})
    model, note = with_adapter_of(folder, base)
    assert model.lora.rank == RANK
    assert note is not None
    assert note.endswith("keys that are not known here are left out: use_something_new=[1]")


def test_adapters_of_any_float_type_are_read(saved: tuple[ModelConfig, Path], tmp_path: Path) -> None:
    base, adapter = saved
    found = safetensors.numpy.load_file(adapter / WEIGHTS)
    half = {name: value.astype(np.float16) for name, value in found.items()}
    _, narrow = read(with_files(adapter, tmp_path, {}, half), base)
    _, wide = read(adapter, base)
    for path, value in narrow.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, wide[path], rtol=1e-3)
