"""Checkpoints of others with something wrong in them: one line names file, key and value, or they load."""

import dataclasses
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import SingleDeviceSharding

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError, ConfigError
from im_jax.models import decoder, families, huggingface
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.families import llama
from im_jax.models.files.layout import Stored
from tests.data import synthetic
from tests.models.reference import SMALL, random_params

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small untied Llama."""
    huggingface.save_params(random_params(SMALL), SMALL, tmp_path)
    return tmp_path


def load(path: Path) -> tuple[ModelConfig, decoder.Params]:
    config = resolve_model(ModelConfig(path=str(path), compute_dtype="float32"))
    device = SingleDeviceSharding(jax.devices()[0])
    return config, load_pretrained(config, jax.tree.map(lambda _: device, decoder.abstract_params(config)))


def edit(folder: Path, tensors: dict[str, np.ndarray | None] | None = None, **changes: Any) -> None:
    """Changes keys of config.json, and tensors (None takes one out)."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    values = safetensors.numpy.load_file(folder / "model.safetensors") | (tensors or {})
    kept = {name: value for name, value in values.items() if value is not None}
    safetensors.numpy.save_file(kept, folder / "model.safetensors")


def message_of(path: Path) -> str:
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)


@pytest.mark.parametrize("value", [0, -1, 300.0, "300", True, [1], {}, 10**12, float("nan"), 1e999])
@pytest.mark.parametrize("key", SIZES)
def test_what_is_no_size_is_refused(folder: Path, key: str, value: Any) -> None:
    edit(folder, **{key: value})
    message = message_of(folder)
    assert str(folder / "config.json") in message
    if value == value and value != 1e999:
        assert f"{key} is {json.dumps(value)}; it must be a whole number from 1 to" in message
    else:
        assert "is no number of JSON" in message


@pytest.mark.parametrize("key", ["hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"])
def test_null_is_no_size(folder: Path, key: str) -> None:
    edit(folder, **{key: None})
    assert f"{key} is null; it must be a whole number" in message_of(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rms_norm_eps": "1e-5"}, 'rms_norm_eps is "1e-5"; it must be a number of at least 0 and at most 1'),
        ({"rms_norm_eps": -1e-5}, "rms_norm_eps is -1e-05; it must be"),
        ({"rope_theta": 0}, "rope_theta is 0; it must be a number of at least 1"),
        ({"rope_theta": None}, "rope_theta is null; it must be a number of at least 1"),
        ({"rope_scaling": ["linear", 4.0]}, 'rope_scaling is ["linear", 4.0]; it must be an object, or null'),
        (
            {"rope_scaling": {"type": "linear", "factor": "4.0"}},
            'rope_scaling.factor is "4.0"; it must be a number of at least 1',
        ),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "rope_scaling.factor is 0; it must be"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is missing; it must be"),
        ({"rope_scaling": {"full_attention": {"rope_type": "default"}}}, "differ between layers"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1; it must be true or false"),
        ({"architectures": "LlamaForCausalLM"}, 'architectures is "LlamaForCausalLM"; it must be a list'),
        (
            {"num_key_value_heads": 3},
            "num_key_value_heads is 3; it must be a divisor of num_attention_heads, 4",
        ),
        ({"head_dim": 7}, "head_dim is 7; it must be even"),
        ({"head_dim": None, "hidden_size": 30}, "hidden_size is 30; it must be an even multiple"),
        ({"hidden_size": 1_000_000, "intermediate_size": 1_000_000}, "the model's sizes make it"),
    ],
)
def test_values_that_cannot_be_are_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    assert message in message_of(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "\ufeff{}", '{"vocab_size": NaN}'])
def test_a_config_that_is_no_object_of_json_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert message_of(folder).startswith(f"{folder / 'config.json'}: ")


def test_a_tied_head_that_was_trained_apart_is_loaded_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, apart = load(folder)
    edit(folder, tie_word_embeddings=True)
    config, params = load(folder)
    assert not config.tie_embeddings
    jax.tree.map(np.testing.assert_array_equal, params, apart)
    assert f"{HEAD} differs from {EMBEDDING}, although config.json ties them" in capsys.readouterr().err


def test_an_equal_copy_of_a_tied_head_is_dropped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedding = safetensors.numpy.load_file(folder / "model.safetensors")[EMBEDDING]
    edit(folder, {HEAD: embedding}, tie_word_embeddings=True)
    config, params = load(folder)
    assert config.tie_embeddings and "head" not in params
    assert not capsys.readouterr().err


def test_a_tied_embedding_may_stand_under_the_name_of_the_head(folder: Path) -> None:
    head = safetensors.numpy.load_file(folder / "model.safetensors")[HEAD]
    edit(folder, {EMBEDDING: None}, tie_word_embeddings=True)
    config, params = load(folder)
    assert config.tie_embeddings
    np.testing.assert_array_equal(params["embedding"], head)


def test_an_untied_model_without_head_is_refused(folder: Path) -> None:
    edit(folder, {HEAD: None})
    assert "says that lm_head.weight is not the embedding (tie_word_embeddings)" in message_of(folder)


def test_what_is_no_number_in_the_weights_is_named(folder: Path) -> None:
    edit(folder, {"model.norm.weight": np.full(32, np.nan, np.float32)})
    assert "model.norm.weight holds NaN or infinity" in message_of(folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (1, "is 1; it must be the name of a file"),
        ("../a", 'is "../a"; it must be'),
        ("gone", "gone: missing;"),
    ],
)
def test_an_index_that_lists_no_files_is_refused(folder: Path, file: Any, message: str) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = {"weight_map": {HEAD: file}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert message in message_of(folder)


def test_a_tensor_in_two_shards_is_refused(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "a.safetensors")
    (folder / "model.safetensors").rename(folder / "b.safetensors")
    index = {"weight_map": {HEAD: "a.safetensors", EMBEDDING: "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "stands in a.safetensors too" in message_of(folder)


def test_weights_of_torch_are_refused_with_the_command_that_saves_them_otherwise(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model-00001-of-00002.bin", "pytorch_model.bin", "consolidated.00.pth", "model.pt"):
        alone = folder / name
        alone.write_bytes(b"PK\x03\x04" + bytes(100))
        (folder / f"{name}.index.json").write_text("{}")
        message = message_of(folder)
        assert f"{folder}: has {name}, but weights are read from safetensors only; " in message
        assert "hf download NAME --revision refs/pr/NUMBER" in message
        assert (
            f"Model.from_pretrained('{folder}', torch_dtype='auto').save_pretrained('{folder}-saf" in message
        )
        if name.endswith(".bin"):
            assert "a file of torch" in message_of(alone)
        alone.unlink()


@pytest.mark.parity
def test_the_command_for_weights_of_torch_gives_a_folder_that_is_read(folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    pytest.importorskip("transformers", reason="needs the extra `parity`")
    synthetic.byte_level_bpe(folder)
    _, expected = load(folder)
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({name: torch.tensor(x) for name, x in tensors.items()}, folder / "pytorch_model.bin")
    exec(message_of(folder).partition('python -c "')[2].removesuffix('"'))
    made = Path(f"{folder}-safetensors")
    jax.tree.map(np.testing.assert_array_equal, load(made)[1], expected)
    assert (made / "tokenizer.json").is_file()


def test_the_name_of_a_model_of_the_hub_is_told_how_it_is_downloaded() -> None:
    assert "hf download meta-llama/Llama-3.2-1B --local-dir" in message_of(Path("meta-llama/Llama-3.2-1B"))


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("value", [0, -(2**31), 2**31 - 1])
def test_a_llama2c_header_of_no_model_is_refused_at_once(tmp_path: Path, place: int, value: int) -> None:
    header = [16, 24, 2, 4, 2, 20, 8]
    header[place] = value
    (tmp_path / "model.bin").write_bytes(struct.pack("<7i", *header) + bytes(5000))
    assert "llama2.c checkpoint of the legacy format" in message_of(tmp_path / "model.bin")


FOUND = Path(__file__).parents[3] / "shared" / "faults" / "configs"
KEYS = {
    "arch_str": "architectures",
    "eps_str": "rms_norm_eps",
    "float_sizes": "vocab_size",
    "maxpos_null": "max_position_embeddings",
    "null_size": "intermediate_size",
    "rope_factor_str": "rope_scaling.factor",
    "rope_scaling_list": "rope_scaling",
    "rope_theta_null": "rope_theta",
    "rope_theta_zero": "rope_theta",
}
"""The key that each found configuration has wrong."""
OF_FOUND = dataclasses.replace(
    SMALL, vocab_size=300, embed_dim=16, mlp_dim=24, num_layers=1, num_heads=2, num_kv_heads=1
)
"""The model that they describe."""


@pytest.mark.parametrize("name", [*KEYS, "wm_int", "tied_only_head", "tied_other_head"])
def test_each_found_configuration_names_its_key_or_loads(tmp_path: Path, name: str) -> None:
    found = FOUND / f"{name}.json"
    if not found.is_file():
        pytest.skip(f"{found} is not there")
    huggingface.save_params(random_params(OF_FOUND), OF_FOUND, tmp_path)
    shutil.copy(found, tmp_path / "config.json")
    if name in KEYS:
        message = message_of(tmp_path)
        assert str(tmp_path) in message and f"{KEYS[name]} is " in message
        return
    if name == "wm_int":  # what is wrong is beside it
        (tmp_path / "model.safetensors").rename(tmp_path / "a.safetensors")
        (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": 1}')
        assert "weight_map is 1; it must be" in message_of(tmp_path)
        return
    head = safetensors.numpy.load_file(tmp_path / "model.safetensors")[HEAD]
    if name == "tied_only_head":
        edit(tmp_path, {EMBEDDING: None})
    config, params = load(tmp_path)
    assert config.tie_embeddings is (name == "tied_only_head")
    np.testing.assert_array_equal(params["embedding"] if config.tie_embeddings else params["head"].T, head)


def test_a_new_family_is_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that keeps query, key and value, and gate and up, in one tensor each, as Phi-3 does."""
    qkv, gate_up = "model.layers.{}.self_attn.qkv_proj.weight", "model.layers.{}.mlp.gate_up_proj.weight"
    fused = {
        "layers.attention.query": Stored(qkv, "d h k -> (h k) d", joined=0),
        "layers.attention.key": Stored(qkv, "d g k -> (g k) d", joined=0),
        "layers.attention.value": Stored(qkv, "d g k -> (g k) d", joined=0),
        "layers.mlp.gate": Stored(gate_up, "d f -> f d", joined=0),
        "layers.mlp.up": Stored(gate_up, "d f -> f d", joined=0),
    }
    layout = {name: place for name, place in llama.LAYOUT.items() if name not in fused} | fused
    phi = dataclasses.replace(llama.LLAMA, architecture="PhiLikeForCausalLM", model_type="phi", layout=layout)
    monkeypatch.setattr(families, "FAMILIES", (phi, *families.FAMILIES))
    config = dataclasses.replace(SMALL, num_kv_heads=2)
    params = random_params(config)
    huggingface.save_params(params, config, tmp_path)
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    joined = tensors["model.layers.1.self_attn.qkv_proj.weight"]
    assert joined.shape == ((4 + 2 + 2) * 8, 32)
    key = params["layers"]["attention"]["key"][1]
    np.testing.assert_array_equal(joined[32:48].T.reshape(32, 2, 8), key)
    same, read = load(tmp_path)
    assert same.num_kv_heads == 2
    jax.tree.map(np.testing.assert_array_equal, read, params)
