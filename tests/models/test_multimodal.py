"""Models of text and images: their text model is read, and written as one of text alone."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models import decoder, huggingface
from im_jax.models.checkpoints import resolve_model
from tests.models.reference import SMALL, random_params
from tests.models.test_families import FAMILIES, load, our_logits, peer_logits

TEXT = dataclasses.replace(
    SMALL,
    family="Gemma3ForCausalLM",
    norm="rms_plus_one",
    norm_places="both",
    head_norm="head",
    mlp="geglu",
    scale_embedding=True,
    tie_embeddings=True,
    attention_scale=0.25,
    sliding_window=4,
    window_pattern="10",
)
OTHERS = (
    "vision_tower.vision_model.embeddings.patch_embedding.weight",
    "multi_modal_projector.mm_soft_emb_norm.weight",
)
PREFIXES = {
    "as on the hub": ("language_model.model.", ""),
    "as in memory": ("model.language_model.", "model."),
}


def write(folder: Path, prefix: str, others: str) -> tuple[decoder.Params, dict[str, np.ndarray]]:
    """A folder with images, made of one without; gives the parameters and the files of the one without."""
    params = random_params(TEXT)
    huggingface.save_params(params, TEXT, folder)
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    renamed = {prefix + name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    renamed |= {others + name: np.ones((3, 3), np.float32) for name in OTHERS}
    safetensors.numpy.save_file(renamed, folder / "model.safetensors")
    text = json.loads((folder / "config.json").read_text())
    for key in ("architectures", "dtype", "torch_dtype", "tie_word_embeddings"):
        del text[key]
    edit(folder, text_config=text, vision_config={"hidden_size": 8}, image_token_index=7)
    return params, tensors


def edit(folder: Path, **keys: Any) -> None:
    usual = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}
    (folder / "config.json").write_text(json.dumps(usual | keys))


@pytest.mark.parametrize("names", PREFIXES)
def test_the_text_model_is_read_and_goes_out_alone(
    names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, tensors = write(tmp_path, *PREFIXES[names])
    config, found = load(tmp_path)
    assert "is read; 2 tensors of other parts are left out" in " ".join(capsys.readouterr().err.split())
    same = dataclasses.replace(config, path="", compute_dtype=TEXT.compute_dtype)
    assert same == dataclasses.replace(TEXT, head_dim=same.head_dim)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    huggingface.save_params(found, config, tmp_path / "out")
    written = safetensors.numpy.load_file(tmp_path / "out/model.safetensors")
    assert written.keys() == tensors.keys()
    assert json.loads((tmp_path / "out/config.json").read_text())["architectures"] == ["Gemma3ForCausalLM"]


def test_sizes_that_the_hub_leaves_out_are_those_of_the_class(tmp_path: Path) -> None:
    """config.json of gemma-3-4b-it, in which the keys below are all of the text model's."""
    scaling = {"factor": 8.0, "rope_type": "linear"}
    text = {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text"}
    edit(
        tmp_path,
        text_config=text | {"num_hidden_layers": 34, "rope_scaling": scaling, "sliding_window": 1024},
    )
    found = ModelConfig(**huggingface.read_config(tmp_path))
    assert (found.vocab_size, found.embed_dim, found.mlp_dim, found.num_layers) == (262208, 2560, 10240, 34)
    assert (found.num_heads, found.num_kv_heads, found.head_dim, found.max_positions) == (8, 4, 256, 131072)
    assert (found.rope_theta, found.window_rope_theta, found.rope_scaling.factor) == (1e6, 1e4, 8.0)
    assert (found.sliding_window, found.tie_embeddings, found.norm_eps) == (1024, True, 1e-6)
    assert found.window_pattern.startswith("111110")


def test_other_models_with_a_text_model_in_them_are_refused(tmp_path: Path) -> None:
    write(tmp_path, *PREFIXES["as on the hub"])
    for keys, message in (
        ({"architectures": ["Mistral3ForConditionalGeneration"]}, 'architectures is ["Mistral3ForC'),
        ({"architectures": None, "model_type": "llava"}, 'model_type is "llava"; it must be that of a text'),
        ({"quantization_config": {"bits": 4}}, "quantization_config is"),
        (
            {"text_config": {"model_type": "llama"}},
            'text_config.model_type is "llama"; it must be "gemma3_text"',
        ),
    ):
        kept = json.loads((tmp_path / "config.json").read_text())
        edit(tmp_path, **(kept | keys))
        with pytest.raises(CheckpointError) as error:
            resolve_model(ModelConfig(path=str(tmp_path)))
        assert message in str(error.value) and "\n" not in str(error.value)
        (tmp_path / "config.json").write_text(json.dumps(kept))


def test_tensors_that_are_neither_text_nor_images_are_refused(tmp_path: Path) -> None:
    write(tmp_path, *PREFIXES["as on the hub"])
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    norm = tensors["language_model.model.norm.weight"]
    for name, message in (
        ("audio_tower.weight", "unexpected 1 tensor: audio_tower.weight"),
        ("model.language_model.norm.weight", "model.norm.weight stands there under two names"),
    ):
        safetensors.numpy.save_file(tensors | {name: norm}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            resolve_model(ModelConfig(path=str(tmp_path)))


@pytest.mark.parity
def test_a_gemma_of_text_and_images_says_the_same_as_its_text_model(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    torch.manual_seed(0)
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config={"vocab_size": 96, "initializer_range": 0.1, **FAMILIES["gemma3_4b"][1]},
        vision_config=vision | {"image_size": 28, "patch_size": 14, "model_type": "siglip_vision_model"},
        mm_tokens_per_image=4,
        image_token_index=95,
    )
    config._attn_implementation = "eager"
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).uniform_(-0.3, 0.3))
    model.save_pretrained(tmp_path / "theirs")
    tokens = np.random.default_rng(1).integers(0, 95, 40)
    expected = peer_logits(model, tokens)
    ours, params = load(tmp_path / "theirs")
    np.testing.assert_allclose(our_logits(ours, params, tokens), expected, rtol=0, atol=1e-4)
    huggingface.save_params(params, ours, tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager")
    assert type(again).__name__ == "Gemma3ForCausalLM"
    np.testing.assert_allclose(peer_logits(again, tokens), expected, rtol=0, atol=1e-5)
