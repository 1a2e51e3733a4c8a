"""Every family of checkpoints: transformers' logits are ours, and what we write is what transformers reads.

Sizes are those of published models, divided; norms and biases are moved away from where they start, for there
a scale of 1 + 0 and of 1, or a missing bias, look alike.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from jax.sharding import SingleDeviceSharding

from im_jax.config import ModelConfig
from im_jax.models import block, decoder, huggingface, last_block
from im_jax.models.cache import Cache
from im_jax.models.checkpoints import load_pretrained, resolve_model

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compiled_quickly")]

LENGTH = 40
WINDOW = 7
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0 + 0.1 * i for i in range(6)],
    "long_factor": [2.0 + 0.5 * i for i in range(6)],
}
QWEN = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64, "intermediate_size": 112}
GEMMA = {**QWEN, "head_dim": 32, "num_key_value_heads": 1, "intermediate_size": 160}
OPT = {"hidden_size": 48, "ffn_dim": 96, "num_attention_heads": 4, "word_embed_proj_dim": 48}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama_3_2": ("Llama", {**QWEN, "rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama_attention_bias": ("Llama", {**QWEN, "attention_bias": True}),
    "llama_all_biases": ("Llama", {**QWEN, "attention_bias": True, "mlp_bias": True}),
    "llama_yarn": ("Llama", {**QWEN, "rope_parameters": YARN}),
    "mistral_v0_1": ("Mistral", {**QWEN, "sliding_window": WINDOW}),
    "smollm3": (
        "SmolLM3",
        {**QWEN, "pad_token_id": 0, "num_hidden_layers": 5, "rope_parameters": {"rope_theta": 5e6}},
    ),
    "smollm3_irregular": (
        "SmolLM3",
        {**QWEN, "pad_token_id": 0, "no_rope_layers": [0, 1, 1, 0], "tie_word_embeddings": False},
    ),
    "qwen2_5": ("Qwen2", {**QWEN, "rope_parameters": {"rope_theta": 1e6}}),
    "qwen2_5_tied": ("Qwen2", {**QWEN, "tie_word_embeddings": True}),
    "qwen2_window": (
        "Qwen2",
        {**QWEN, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
    ),
    "qwen3": ("Qwen3", {**QWEN, "head_dim": 24, "rope_parameters": {"rope_theta": 1e6}}),
    "qwen3_tied": ("Qwen3", {**QWEN, "head_dim": 24, "tie_word_embeddings": True, "attention_bias": True}),
    "gemma": ("Gemma", GEMMA),
    "gemma2": ("Gemma2", {**GEMMA, "sliding_window": WINDOW, "query_pre_attn_scalar": 40}),
    "gemma2_untied": ("Gemma2", {**GEMMA, "sliding_window": WINDOW, "tie_word_embeddings": False}),
    "gemma3_1b": ("Gemma3Text", {**GEMMA, "num_hidden_layers": 7, "sliding_window": WINDOW}),
    "gemma3_4b": (
        "Gemma3Text",
        {
            **GEMMA,
            "num_hidden_layers": 7,
            "sliding_window": WINDOW,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "phi3_mini": ("Phi3", {**QWEN, "num_key_value_heads": 4, "pad_token_id": 0, "sliding_window": WINDOW}),
    "phi4_mini": (
        "Phi3",
        {
            **QWEN,
            "pad_token_id": 0,
            "tie_word_embeddings": True,
            "rope_parameters": {**LONG, "partial_rotary_factor": 0.75},
            "original_max_position_embeddings": 64,
        },
    ),
    "olmo2": ("Olmo2", {**QWEN, "eos_token_id": 1, "rope_parameters": {"rope_theta": 5e5}}),
    "olmo3": ("Olmo3", {**QWEN, "eos_token_id": 1, "sliding_window": WINDOW, "num_hidden_layers": 5}),
    "olmo3_yarn": (
        "Olmo3",
        {
            **QWEN,
            "eos_token_id": 1,
            "sliding_window": WINDOW,
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
            },
        },
    ),
    "gpt2": ("GPT2", {"n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 128, "n_inner": None}),
    "opt_125m": ("OPT", OPT),
    "opt_untied": ("OPT", {**OPT, "tie_word_embeddings": False}),
    "opt_350m": ("OPT", {**OPT, "word_embed_proj_dim": 24, "do_layer_norm_before": False}),
    "opt_without_biases": ("OPT", {**OPT, "enable_bias": False}),
    "pythia": ("GPTNeoX", {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2}),
    "pythia_serial": (
        "GPTNeoX",
        {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 2,
            "use_parallel_residual": False,
            "rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
    ),
}
CLASSES = {"Gemma3Text": "Gemma3"}
PARITY = 1e-4


@pytest.fixture(autouse=True)
def layers_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiles a layer once, not once for each of them, which is the same by `tests/models/test_gpt2.py`."""
    monkeypatch.setattr(block, "_MOST_UNROLLED", 0)


def peer(name: str, vocab_size: int = 96) -> Any:
    """A random model of transformers."""
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    architecture, changes = FAMILIES[name]
    sizes = {"vocab_size": vocab_size, "num_hidden_layers": 4, "max_position_embeddings": 128}
    torch.manual_seed(0)
    config_class = getattr(transformers, f"{architecture}Config")
    config = config_class(**(sizes | {"initializer_range": 0.1, "init_std": 0.1} | changes))
    config._attn_implementation = "eager"
    model_class = getattr(transformers, f"{CLASSES.get(architecture, architecture)}{head(architecture)}")
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).uniform_(-0.3, 0.3))
            elif "embed_positions" in parameter_name or "wpe" in parameter_name:
                parameter.normal_(0, 0.3)
    return model


def head(architecture: str) -> str:
    return "LMHeadModel" if architecture == "GPT2" else "ForCausalLM"


def peer_logits(model: Any, tokens: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.tensor(tokens)[None]).logits[0].float().numpy()


def load(directory: Path) -> tuple[ModelConfig, decoder.Params]:
    config = resolve_model(ModelConfig(path=str(directory), compute_dtype="float32"))
    device = SingleDeviceSharding(jax.devices()[0])
    return config, load_pretrained(config, jax.tree.map(lambda _: device, decoder.abstract_params(config)))


def our_logits(config: ModelConfig, params: decoder.Params, tokens: np.ndarray) -> np.ndarray:
    """Of the second example of a row."""
    row = jnp.asarray(np.concatenate([tokens[:9], tokens]))[None]
    segments = jnp.asarray([[1] * 9 + [2] * len(tokens)])
    positions = jnp.asarray([[*range(9), *range(len(tokens))]])
    return np.asarray(decoder.logits(params, config, row, segments, positions))[0, 9:]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_comes_in_and_goes_out(name: str, tmp_path: Path) -> None:
    model = peer(name)
    model.save_pretrained(tmp_path / "theirs")
    tokens = np.random.default_rng(1).integers(0, 96, LENGTH)
    expected = peer_logits(model, tokens)
    assert np.abs(expected).max() > 0.3
    config, params = load(tmp_path / "theirs")
    np.testing.assert_allclose(our_logits(config, params, tokens), expected, rtol=0, atol=PARITY)

    import transformers

    huggingface.save_params(params, config, tmp_path / "ours")
    again, info = type(model).from_pretrained(
        tmp_path / "ours", attn_implementation="eager", output_loading_info=True
    )
    assert not any(info[key] for key in info), info
    np.testing.assert_allclose(peer_logits(again, tokens), expected, rtol=0, atol=1e-5)
    assert isinstance(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours"), type(model))
    theirs, ours = (
        safetensors.numpy.load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours")
    )
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(value, ours[key], err_msg=key)


OLD_FORMS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    # name: the model, keys of an older config.json, and keys that it lacks
    "llama": (
        "llama_3_2",
        {"rope_theta": 500000.0, "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"}},
        ("rope_parameters",),
    ),
    "qwen2": (
        "qwen2_window",
        {"rope_theta": 10000.0, "rope_scaling": None},
        ("rope_parameters", "layer_types"),
    ),
    "gemma2": ("gemma2", {"rope_theta": 10000.0}, ("rope_parameters", "layer_types")),
    "gemma3": (
        "gemma3_4b",
        {
            "rope_theta": 1e6,
            "rope_local_base_freq": 1e4,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "sliding_window_pattern": 6,
        },
        ("rope_parameters", "layer_types"),
    ),
    "phi3": (
        "phi4_mini",
        {
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.75,
            "rope_scaling": {"type": "su", **{k: v for k, v in LONG.items() if k != "rope_type"}},
        },
        ("rope_parameters",),
    ),
    "neox": (
        "pythia_serial",
        {"rotary_pct": 0.5, "rotary_emb_base": 10000},
        ("rope_parameters", "rope_theta", "partial_rotary_factor"),
    ),
}


@pytest.mark.parametrize("form", OLD_FORMS)
def test_older_forms_of_config_json_mean_the_same(form: str, tmp_path: Path) -> None:
    name, keys, missing = OLD_FORMS[form]
    peer(name).save_pretrained(tmp_path)
    new = resolve_model(ModelConfig(path=str(tmp_path)))
    path = tmp_path / "config.json"
    values = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({key: value for key, value in values.items() if key not in missing}))
    old = resolve_model(ModelConfig(path=str(tmp_path)))
    assert old == new


@pytest.mark.parametrize("name", ["gemma3_4b", "olmo3", "smollm3", "pythia", "opt_350m", "phi4_mini"])
def test_decoding_with_a_cache_is_decoding_without(name: str, tmp_path: Path) -> None:
    peer(name).save_pretrained(tmp_path)
    config, params = load(tmp_path)
    tokens = jnp.asarray(np.random.default_rng(2).integers(0, 96, (2, 24)))
    ones, places = jnp.ones_like(tokens), jnp.broadcast_to(jnp.arange(24), (2, 24))
    whole = decoder.hidden_states(params, config, tokens, ones, places)
    graph = decoder.decoder_graph(config)

    @jax.jit
    def decode(params: decoder.Params, tokens: jax.Array, slot: jax.Array, cache: Cache) -> Any:
        return nnx.merge(graph, params).decode(tokens, slot, jnp.zeros(2, jnp.int32), cache)

    cache = nnx.merge(graph, params).new_cache(2, 24)
    first, cache = decode(params, tokens[:, :13], jnp.int32(0), cache)
    found = [first]
    for slot in range(13, 24):
        hidden, cache = decode(params, tokens[:, slot : slot + 1], jnp.int32(slot), cache)
        found.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(found, axis=1), whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["gemma3_4b", "olmo3", "smollm3", "pythia", "opt_350m", "phi4_mini"])
def test_the_last_block_of_few_tokens_is_that_of_all(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer(name).save_pretrained(tmp_path)
    config, params = load(tmp_path)
    tokens = jnp.asarray(np.random.default_rng(3).integers(0, 96, (2, 30)))
    segments = jnp.asarray([[1] * 12 + [2] * 18] * 2)
    positions = jnp.asarray([[*range(12), *range(18)]] * 2)
    needed = jnp.arange(30) % 9 == 3
    needed = jnp.stack([needed, ~needed & (jnp.arange(30) > 27)])

    def loss(params: decoder.Params, needed: Any) -> Any:
        hidden = decoder.hidden_states(params, config, tokens, segments, positions, needed=needed)
        return jnp.sum(jnp.where(mask[..., None], jnp.sin(hidden), 0))

    mask = needed
    expected = jax.jit(jax.value_and_grad(loss))(params, None)
    monkeypatch.setattr(last_block, "LEAST_PARAMETERS", 0)
    found = jax.jit(jax.value_and_grad(loss))(params, needed)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4), found, expected)
