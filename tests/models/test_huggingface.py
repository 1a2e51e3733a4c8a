"""Hugging Face checkpoints: our logits are theirs, files come and go unchanged, bad files are refused."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import SingleDeviceSharding

from im_jax.config import ModelConfig, RopeScaling
from im_jax.errors import CheckpointError
from im_jax.models import decoder, huggingface
from im_jax.models.checkpoints import load_pretrained, resolve_model
from tests.models.reference import VARIANTS, random_params, variant
from tests.subprocess_devices import run_on_devices


def load(directory: Path, **changes: Any) -> tuple[ModelConfig, decoder.Params]:
    config = resolve_model(ModelConfig(path=str(directory), compute_dtype="float32", **changes))
    device = SingleDeviceSharding(jax.devices()[0])
    return config, load_pretrained(config, jax.tree.map(lambda _: device, decoder.abstract_params(config)))


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama_grouped": ("Llama", {"num_key_value_heads": 2}),
    "llama_tied": ("Llama", {"tie_word_embeddings": True}),
    "llama_head_dim": ("Llama", {"head_dim": 20, "num_key_value_heads": 1}),
    "llama_llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama_linear": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}},
    ),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral_window": ("Mistral", {"sliding_window": 5}),
}


PARITY = 3e-5
"""Float32 rounding: ours and the peer's own float32 are both 1e-5 to 2e-5 off the peer in float64."""


def peer(name: str) -> Any:
    """A small random model of transformers, with weights large enough to matter."""
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    architecture, changes = PEERS[name]
    sizes = {
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(**(sizes | changes), attn_implementation="eager")
    model = getattr(transformers, f"{architecture}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name:
                parameter.uniform_(0.5, 1.5)
    return model


def peer_logits(model: Any, tokens: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.tensor(tokens)[None]).logits[0].numpy()


@pytest.mark.parity
@pytest.mark.parametrize("name", PEERS)
def test_logits_equal_those_of_transformers(name: str, tmp_path: Path) -> None:
    model = peer(name)
    model.save_pretrained(tmp_path)
    config, params = load(tmp_path)
    tokens = np.random.default_rng(0).integers(0, 96, 40)
    # Two examples packed in a row, with padding behind them.
    row = np.pad(tokens, (0, 3))[None]
    segments = np.array([[1] * 15 + [2] * 25 + [0] * 3])
    positions = np.array([[*range(15), *range(25), 0, 0, 0]])
    ours = decoder.logits(params, config, *map(jnp.asarray, (row, segments, positions)))[0]
    for part in (slice(0, 15), slice(15, 40)):
        expected = peer_logits(model, tokens[part])
        assert np.abs(expected).max() > 3
        np.testing.assert_allclose(ours[part], expected, rtol=0, atol=PARITY)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["llama_grouped", "llama_tied", "mistral_window"])
def test_sharded_files_hold_the_same_model(name: str, tmp_path: Path) -> None:
    model = peer(name)
    model.save_pretrained(tmp_path / "single")
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 3
    _, params = load(tmp_path / "single")
    _, same = load(tmp_path / "shards")
    jax.tree.map(np.testing.assert_array_equal, params, same)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["grouped", "tied", "head_dim", "window", "linear", "llama3"])
def test_transformers_reads_what_we_write(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    config = variant(name)
    params = random_params(config)
    huggingface.save_params(params, config, tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    tokens = np.arange(20)
    row = jnp.asarray(tokens)[None]
    ours = decoder.logits(params, config, row, jnp.ones_like(row), row)[0]
    expected = peer_logits(model, tokens)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = variant("head_dim")
    huggingface.save_params(random_params(config), config, tmp_path)
    return tmp_path


def edit_config(directory: Path, **changes: Any) -> None:
    """Changes keys; those of rotary positions replace both forms that were written."""
    path = directory / "config.json"
    old = json.loads(path.read_text())
    if any(key.startswith("rope_") for key in changes):
        old = {key: value for key, value in old.items() if not key.startswith("rope_")}
    path.write_text(json.dumps(old | changes))


def edit_tensors(directory: Path, edit: Callable[[dict[str, np.ndarray]], None]) -> None:
    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    edit(tensors)
    safetensors.numpy.save_file(tensors, directory / "model.safetensors")


def split_in_two(directory: Path) -> None:
    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    weight_map = {}
    for part in (0, 1):
        file = f"model-{part}.safetensors"
        names = sorted(tensors)[part::2]
        safetensors.numpy.save_file({name: tensors[name] for name in names}, directory / file)
        weight_map |= dict.fromkeys(names, file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    config = variant(name)
    params = random_params(config)
    huggingface.save_params(params, config, tmp_path)
    read, same = load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    expected = dataclasses.replace(config, path=read.path, head_dim=read.head_dim, family=read.family)
    assert dataclasses.asdict(read) == dataclasses.asdict(expected)


def test_projections_are_out_by_in_in_the_file(checkpoint: Path) -> None:
    config, params = load(checkpoint)
    tensors = safetensors.numpy.load_file(checkpoint / "model.safetensors")
    x = np.random.default_rng(1).normal(size=config.embed_dim).astype(np.float32)
    attention = params["layers"]["attention"]
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}.self_attn"
        query = np.einsum("d,dhk->hk", x, attention["query"][layer])
        np.testing.assert_allclose(
            query.ravel(), tensors[f"{prefix}.q_proj.weight"] @ x, rtol=1e-5, atol=1e-5
        )
        output = np.einsum("hk,hkd->d", query, attention["output"][layer])
        expected = tensors[f"{prefix}.o_proj.weight"] @ query.ravel()
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stored", [ml_dtypes.bfloat16, np.float16, np.float32])
@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_files_of_any_float_become_the_parameter_type(
    checkpoint: Path, stored: Any, param_dtype: str
) -> None:
    _, exact = load(checkpoint)

    def convert(tensors: dict[str, np.ndarray]) -> None:
        tensors.update({name: value.astype(stored) for name, value in tensors.items()})

    edit_tensors(checkpoint, convert)
    _, params = load(checkpoint, param_dtype=param_dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(param_dtype)}
    rounded = jax.tree.map(lambda x: np.asarray(x).astype(stored).astype(param_dtype), exact)
    jax.tree.map(np.testing.assert_array_equal, params, rounded)


def test_an_index_of_shards_is_followed(checkpoint: Path) -> None:
    _, whole = load(checkpoint)
    split_in_two(checkpoint)
    _, params = load(checkpoint)
    jax.tree.map(np.testing.assert_array_equal, params, whole)


def test_eight_devices_read_only_their_own_slices(checkpoint: Path) -> None:
    assert "same on 8 devices" in run_on_devices(
        "tests.models.check_sharded_loading", arguments=[str(checkpoint)]
    )


def test_tensors_that_say_nothing_new_are_passed_over(checkpoint: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    without = load(checkpoint)
    edit_tensors(checkpoint, lambda tensors: tensors.update({name: np.ones(6, np.float32)}))
    jax.tree.map(np.testing.assert_array_equal, load(checkpoint), without)
    assert jax.tree.leaves(without)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), r"missing 1 tensor: model\.norm\.weight"),
        (lambda t: t.update(extra=np.ones(2, np.float32)), "unexpected 1 tensor: extra"),
        (
            lambda t: t.update({"model.norm.weight": np.ones(3, np.float32)}),
            r"model\.norm\.weight has shape \(3,\), but the model's sizes make it \(32,\)",
        ),
        (
            lambda t: t.update({"model.norm.weight": np.ones(32, np.int8)}),
            r"model\.norm\.weight has type I8; supported: F32, BF16, F16",
        ),
        (
            lambda t: t.update({"model.embed_tokens.weight": np.ones((50, 32), np.float32)}),
            r"embed_tokens\.weight has shape \(50, 32\), but the model's sizes make it \(48, 32\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    checkpoint: Path, edit: Callable[[dict[str, np.ndarray]], None], message: str
) -> None:
    edit_tensors(checkpoint, edit)
    with pytest.raises(CheckpointError, match=message):
        load(checkpoint)


def test_files_that_are_missing_or_cut_are_named(checkpoint: Path) -> None:
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a whole safetensors file"):
        load(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(whole)
    split_in_two(checkpoint)
    (checkpoint / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors: missing; .*index\.json lists it"):
        load(checkpoint)
    (checkpoint / "model.safetensors.index.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"has neither model\.safetensors nor model\.safetensors\.index"
    ):
        load(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["MixtralForCausalLM"]},
            r'architectures is \["MixtralForCausalLM"\]; it must be a list with',
        ),
        (
            {"architectures": None, "model_type": "mixtral"},
            'model_type is "mixtral"; it must be "llama" or "mistral" or',
        ),
        ({"mlp_bias": True}, "mlp_bias is true; it must be false where attention_bias is false"),
        ({"hidden_act": "gelu"}, 'hidden_act is "gelu"; it must be "silu"'),
        ({"quantization_config": {"bits": 4}}, r'quantization_config is \{"bits": 4\}; it must be null'),
        (
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            r'rope_scaling\.type is "dynamic"; it must be "default"',
        ),
        ({"rope_scaling": {"type": "llama3", "factor": 2.0}}, r"rope_scaling\.low_freq_factor is missing"),
        (
            {"rope_parameters": {"partial_rotary_factor": 0.5}},
            r"partial_rotary_factor is 0\.5; it must be 1\.0",
        ),
    ],
)
def test_models_that_the_decoder_is_not_are_refused(
    checkpoint: Path, changes: dict[str, Any], message: str
) -> None:
    edit_config(checkpoint, **changes)
    with pytest.raises(CheckpointError, match=message):
        load(checkpoint)


def test_a_broken_config_is_named(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: not valid JSON"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("changes", "scaling"),
    [
        ({"rope_theta": 77.0, "rope_scaling": None}, RopeScaling()),
        ({"rope_theta": 77.0, "rope_scaling": {"type": "linear", "factor": 2.0}}, RopeScaling("linear", 2.0)),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 77.0, "factor": 2.0}},
            RopeScaling("linear", 2.0),
        ),
        ({"rope_parameters": LLAMA3 | {"rope_theta": 77.0}}, RopeScaling("llama3", 8.0, 1.0, 4.0, 32)),
    ],
)
def test_both_forms_of_rotary_settings_are_read(
    checkpoint: Path, changes: dict[str, Any], scaling: RopeScaling
) -> None:
    edit_config(checkpoint, **changes)
    fields = huggingface.read_config(checkpoint)
    assert (fields["rope_theta"], fields["rope_scaling"]) == (77.0, scaling)


def test_fields_left_out_mean_what_transformers_means(tmp_path: Path) -> None:
    sizes = {
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 3,
        "num_attention_heads": 16,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(sizes | {"architectures": ["LlamaForCausalLM"]}))
    llama = huggingface.read_config(tmp_path)
    path.write_text(json.dumps(sizes | {"architectures": ["MistralForCausalLM"]}))
    mistral = huggingface.read_config(tmp_path)
    names = ("num_kv_heads", "sliding_window", "max_positions", "norm_eps", "rope_theta", "tie_embeddings")
    assert [llama[name] for name in names] == [16, None, 2048, 1e-6, 10000.0, False]
    assert [mistral[name] for name in names] == [8, 4096, 131072, 1e-6, 10000.0, False]


def test_the_run_keeps_its_own_types_and_remat(checkpoint: Path) -> None:
    asked = ModelConfig(path=str(checkpoint), param_dtype="bfloat16", remat="dots", num_layers=9)
    config = resolve_model(asked)
    kept = (config.path, config.compute_dtype, config.param_dtype, config.remat)
    assert kept == (str(checkpoint), "bfloat16", "bfloat16", "dots")
    assert config.num_layers == 2
    shutil.rmtree(checkpoint)
    assert resolve_model(ModelConfig(num_layers=9)).num_layers == 9
