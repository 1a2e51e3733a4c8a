"""PEFT itself as oracle: its adapters give its logits here, and ours give our logits there."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import SingleDeviceSharding

from im_jax.config import ModelConfig
from im_jax.models import decoder
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.adapters.peft.config import CONFIG
from im_jax.models.adapters.peft.reading import WEIGHTS, read_adapter, with_adapter_of
from im_jax.models.adapters.peft.writing import adapter_files
from im_jax.models.files.layout import by_path
from im_jax.models.files.safetensors_writing import write_file
from im_jax.training.partition import merge, split
from tests.models.test_families import PARITY, load, our_logits, peer, peer_logits

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compiled_quickly")]

ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    # name: the family, and arguments of PEFT's LoraConfig
    "llama": ("llama_3_2", {"target_modules": "all-linear"}),
    "llama_expression": (
        "llama_3_2",
        {"target_modules": r".*layers\.[02]\..*\.(k|up)_proj", "use_rslora": True},
    ),
    "llama_layers": (
        "llama_all_biases",
        {"target_modules": ["q_proj", "o_proj"], "layers_to_transform": [1, 3], "layers_pattern": "layers"},
    ),
    "llama_patterns": (
        "llama_3_2",
        {
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "exclude_modules": r".*\.0\.mlp\.up_proj",
            "rank_pattern": {"v_proj": 2, r"model\.layers\.1\..*q_proj": 8},
            "alpha_pattern": {"self_attn.v_proj": 7},
            "use_rslora": True,
        },
    ),
    "qwen2": ("qwen2_5", {"target_modules": "all-linear"}),
    "gemma3": ("gemma3_1b", {"target_modules": "all-linear"}),
    "phi3": ("phi4_mini", {"target_modules": "all-linear"}),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "c_fc", "mlp.c_proj"], "use_rslora": True}),
    "pythia": ("pythia", {"target_modules": ["query_key_value", "dense", "dense_4h_to_h"]}),
    "opt": ("opt_125m", {"target_modules": ["q_proj", "out_proj", "fc2"]}),
}
RANK = 4


def peer_adapter(name: str, folder: Path) -> Any:
    """A random model of transformers with a random adapter of PEFT's; both are saved."""
    import peft
    import torch

    family, arguments = ADAPTERS[name]
    base = peer(family)
    base.save_pretrained(folder / "base")
    config = peft.LoraConfig(**{"r": RANK, "lora_alpha": 6, "task_type": "CAUSAL_LM", **arguments})
    adapted = peft.get_peft_model(base, config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter_name, parameter in adapted.named_parameters():
            if ".lora_" in parameter_name:
                parameter.normal_(0, 0.2)
    adapted.save_pretrained(folder / "adapter")
    return adapted


def load_adapter(folder: Path) -> tuple[ModelConfig, decoder.Params]:
    base, params = load(folder / "base")
    model, note = with_adapter_of(folder / "adapter", base)
    assert note is None
    device = SingleDeviceSharding(jax.devices()[0])
    wanted, _ = split(jax.tree.map(lambda _: device, decoder.abstract_params(model)), is_adapter)
    return model, merge(params, read_adapter(folder / "adapter", model, wanted))


def write_adapter(folder: Path, model: ModelConfig, params: decoder.Params) -> None:
    folder.mkdir()
    files = adapter_files(model, by_path(params).__getitem__, "base")
    (folder / CONFIG).write_text(json.dumps(files.config))
    write_file(folder / WEIGHTS, files.shapes, "float32", files.tensors)


def tensors(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / WEIGHTS)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_of_peft_comes_in_and_goes_out(name: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `parity`")
    adapted = peer_adapter(name, tmp_path)
    tokens = np.random.default_rng(1).integers(0, 96, 40)
    expected = peer_logits(adapted, tokens)
    with adapted.disable_adapter():
        assert np.abs(peer_logits(adapted, tokens) - expected).max() > 0.1
    model, params = load_adapter(tmp_path)
    np.testing.assert_allclose(our_logits(model, params, tokens), expected, rtol=0, atol=PARITY)

    write_adapter(tmp_path / "ours", model, params)
    base = type(adapted.get_base_model()).from_pretrained(tmp_path / "base", attn_implementation="eager")
    again = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
    np.testing.assert_allclose(peer_logits(again, tokens), expected, rtol=0, atol=1e-5)
    theirs, ours = tensors(tmp_path / "adapter"), tensors(tmp_path / "ours")
    assert theirs.keys() <= ours.keys()
    if not {"rank_pattern", "layers_to_transform"} & ADAPTERS[name][1].keys():
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value, err_msg=key)


@pytest.mark.parametrize("name", ["phi3", "gpt2", "pythia"])
def test_peft_computes_what_maps_with_an_a_of_their_own_do(name: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `parity`")
    adapted = peer_adapter(name, tmp_path)
    model, params = load_adapter(tmp_path)
    rng = np.random.default_rng(3)
    adapters, rest = split(params, is_adapter)
    drawn = jax.tree.map(lambda array: rng.normal(0, 0.2, array.shape).astype(np.float32), adapters)
    params = merge(drawn, rest)
    write_adapter(tmp_path / "ours", model, params)
    told = json.loads((tmp_path / "ours" / CONFIG).read_text())
    assert told["r"] == 3 * RANK and RANK in told["rank_pattern"].values()
    again = peft.PeftModel.from_pretrained(adapted.unload(), tmp_path / "ours").eval()
    tokens = rng.integers(0, 96, 40)
    np.testing.assert_allclose(
        our_logits(model, params, tokens), peer_logits(again, tokens), rtol=0, atol=PARITY
    )
