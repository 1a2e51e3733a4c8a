"""GPT-2's parts in the one decoder: against transformers and float64 NumPy, alone, mixed, packed and cached."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy
from jax.sharding import AbstractMesh, AxisType, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from im_jax import validation
from im_jax.config import Config, DataConfig, ModelConfig, RopeScaling, TrainConfig
from im_jax.errors import CheckpointError, ConfigError
from im_jax.models import block, checkpoints, counts, decoder, decoding, huggingface, presets
from im_jax.training.optimizer import is_matrix
from tests.models.reference import GPT2_VARIANTS, random_params, reference_logits, variant

GPT2 = variant("gpt2")
TOKENS = np.random.default_rng(1).integers(0, 48, 14)
# Three examples in one row, then padding.
LENGTHS = (5, 1, 6)
SEGMENTS = jnp.array([[1] * 5 + [2] + [3] * 6 + [0, 0]])
POSITIONS = jnp.array([[*range(5), 0, *range(6), 0, 0]])
PARITY = 3e-5
"""Float32 rounding, as in test_huggingface."""


def alone(tokens: np.ndarray, padding: int = 0) -> tuple[jax.Array, ...]:
    """Tokens, segments and positions of a row with one example and some padding."""
    row = tokens, np.ones(len(tokens), np.int32), np.arange(len(tokens))
    return tuple(jnp.pad(jnp.asarray(part), (0, padding))[None] for part in row)


def peer() -> Any:
    """A small random GPT-2 of transformers, every parameter large enough to matter."""
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    torch.manual_seed(0)
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"vocab_size": 48, "n_positions": 16, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 40}
    config = transformers.GPT2Config(**sizes, **dropout, attn_implementation="eager")
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ln_" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(std=0.2)
    return model


def from_peer(tensors: dict[str, Any]) -> decoder.Params:
    """GPT-2's tensors, or their gradients, as our parameters: its matrices are [in, out] like ours."""

    def take(name: str) -> np.ndarray:
        return np.stack([tensors[f"transformer.h.{layer}.{name}"] for layer in range(3)])

    def norm(name: str) -> decoder.Params:
        return {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")}

    matrices = np.split(take("attn.c_attn.weight"), 3, axis=-1)  # [layers, D, H K] each
    biases = np.split(take("attn.c_attn.bias"), 3, axis=-1)
    attention = {
        "output": take("attn.c_proj.weight").reshape(3, 4, 8, 32),
        "output_bias": take("attn.c_proj.bias"),
    }
    for name, matrix, bias in zip(("query", "key", "value"), matrices, biases, strict=True):
        attention |= {name: matrix.reshape(3, 32, 4, 8), f"{name}_bias": bias.reshape(3, 4, 8)}
    mlp = {
        f"{ours}{end}": take(f"mlp.{theirs}.{kind}")
        for ours, theirs in (("up", "c_fc"), ("down", "c_proj"))
        for end, kind in (("", "weight"), ("_bias", "bias"))
    }
    final = {"scale": tensors["transformer.ln_f.weight"], "bias": tensors["transformer.ln_f.bias"]}
    layers = {"attention_norm": norm("ln_1"), "attention": attention, "mlp_norm": norm("ln_2"), "mlp": mlp}
    tables = {
        "embedding": tensors["transformer.wte.weight"],
        "position_embedding": tensors["transformer.wpe.weight"],
    }
    return jax.tree.map(jnp.asarray, {**tables, "layers": layers, "final_norm": final})


@pytest.mark.parity
def test_logits_and_gradients_equal_those_of_transformers() -> None:
    model = peer()
    import torch

    their_logits = model(torch.tensor(TOKENS)[None]).logits[0]
    their_loss = torch.nn.functional.cross_entropy(their_logits[:-1], torch.tensor(TOKENS[1:]))
    their_loss.backward()
    their_gradients = from_peer({name: p.grad.numpy() for name, p in model.named_parameters()})
    config = dataclasses.replace(GPT2, num_layers=3)
    params = from_peer({name: p.detach().numpy() for name, p in model.named_parameters()})

    def loss(params: decoder.Params) -> tuple[jax.Array, jax.Array]:
        logits = decoder.logits(params, config, *alone(TOKENS))[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits[:-1], TOKENS[1:]).mean(), logits

    (_, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda x: x.shape, decoder.abstract_params(config))
    assert np.abs(logits).max() > 3
    np.testing.assert_allclose(logits, their_logits.detach().numpy(), rtol=0, atol=PARITY)
    for path, theirs in jax.tree_util.tree_leaves_with_path(their_gradients):
        ours = functools.reduce(lambda tree, entry: tree[entry.key], path, gradients)
        if path[-1].key == "key_bias":  # adds the same to all scores of a query, which softmax does not see
            assert max(np.abs(ours).max(), np.abs(theirs).max()) < 1e-7
            continue
        assert np.abs(theirs).max() > 1e-3, path  # there is something to compare
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=PARITY * np.abs(theirs).max(), err_msg=str(path)
        )


@pytest.mark.parametrize("name", GPT2_VARIANTS)
def test_each_part_gives_the_logits_of_the_float64_reference_and_finite_gradients(name: str) -> None:
    config = variant(name)
    params = random_params(config)

    def loss(params: decoder.Params) -> tuple[jax.Array, jax.Array]:
        logits = decoder.logits(params, config, *alone(TOKENS))[0]
        return jnp.mean(jnp.square(logits)), logits

    (_, ours), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    expected = reference_logits(params, config, TOKENS)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.any(leaf), path


def test_neither_remat_nor_scanning_changes_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = dataclasses.replace(GPT2, positions="rotary")  # else gradients of key biases are 0
    params = random_params(turned)

    def gradients(**changes: Any) -> decoder.Params:
        config = dataclasses.replace(turned, **changes)

        def loss(params: decoder.Params) -> jax.Array:
            return jnp.mean(jnp.square(decoder.logits(params, config, *alone(TOKENS))))

        return jax.jit(jax.grad(loss))(params)

    plain = gradients()
    others = [gradients(remat="full"), gradients(remat="dots")]
    monkeypatch.setattr(block, "_MOST_UNROLLED", 0)
    others.append(gradients())
    for other in others:
        for ours, expected in zip(jax.tree.leaves(other), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_examples_packed_in_a_row_give_what_they_give_alone() -> None:
    params = random_params(GPT2)
    hidden_states = jax.jit(functools.partial(decoder.hidden_states, params, GPT2))
    packed = hidden_states(jnp.asarray(TOKENS)[None], SEGMENTS, POSITIONS)[0]
    start = 0
    for length in LENGTHS:
        example = TOKENS[start : start + length]
        padded = hidden_states(*alone(example, padding=len(TOKENS) - length))[0]
        np.testing.assert_allclose(packed[start : start + length], padded[:length], rtol=0, atol=5e-6)
        start += length
    assert np.isfinite(packed).all()


def test_decoding_continues_each_prompt_as_the_whole_forward_pass_does() -> None:
    params, lengths = random_params(GPT2), np.array([7, 2])
    prompts = TOKENS.reshape(2, 7)
    decoded = decoding.greedy(params, GPT2, prompts, lengths, max_new_tokens=9, stop_ids=())
    for prompt, length, ours in zip(prompts, lengths, decoded.tokens, strict=True):
        tokens = prompt[:length].tolist()
        for _ in range(9):
            tokens.append(int(reference_logits(params, GPT2, np.array(tokens))[-1].argmax()))
        np.testing.assert_array_equal(ours[: length + 9], tokens)


def test_decoding_past_the_learned_positions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"L=7 and max_new_tokens=10 exceed the 16 learned positions"):
        decoding.greedy(random_params(GPT2), GPT2, TOKENS.reshape(2, 7), np.array([7, 7]), 10, ())


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_gradients() -> None:
    config = dataclasses.replace(GPT2, compute_dtype="bfloat16")
    params = random_params(config)

    def total(params: decoder.Params) -> tuple[jax.Array, jax.Array]:
        hidden = decoder.hidden_states(params, config, *alone(TOKENS))
        return jnp.sum(hidden, dtype=jnp.float32), hidden

    (_, hidden), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    exact = jax.jit(functools.partial(decoder.hidden_states, params, GPT2))(*alone(TOKENS))
    assert hidden.dtype == jnp.bfloat16
    assert np.corrcoef(np.float32(hidden).ravel(), exact.ravel())[0, 1] > 0.999
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


def test_the_preset_has_the_size_of_its_paper_and_starts_as_gpt2() -> None:
    config = dataclasses.replace(presets.gpt2_rewrites(), vocab_size=64)
    params = jax.jit(functools.partial(decoder.init_params, config))(jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params["layers"])) == 6 * (12 * 256**2 + 13 * 256)
    tables, final_norm = (64 + 1024) * 256, 2 * 256
    assert counts.num_params(config) == 6 * (12 * 256**2 + 13 * 256) + tables + final_norm
    # Matrices only: 12 D^2 a layer and the head; then 12 layers D length for attention.
    products = 6 * (6 * 12 * 256**2 + 64 * 256)
    assert counts.flops_per_token(config, 100) == products + 12 * 6 * 256 * 100
    assert np.isclose(np.std(params["position_embedding"]), 0.02, rtol=0.02)
    attention, mlp = params["layers"]["attention"], params["layers"]["mlp"]
    for matrix in (attention["output"], mlp["down"]):
        assert np.isclose(np.std(matrix), 0.02 / np.sqrt(12), rtol=0.02)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        assert "bias" not in jax.tree_util.keystr(path) or not np.any(leaf)


def test_weight_decay_spares_norms_biases_and_tables() -> None:
    mask = is_matrix(random_params(GPT2))
    decayed = {
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in jax.tree_util.tree_leaves_with_path(mask)
        if leaf
    }
    attention = {f"layers.attention.{name}" for name in ("query", "key", "value", "output")}
    assert decayed == attention | {"layers.mlp.up", "layers.mlp.down"}


def test_biases_are_split_as_the_outputs_of_their_matrices() -> None:
    mesh = AbstractMesh((1, 2, 4), ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    shardings = decoder.param_shardings(GPT2, mesh)
    layers = shardings["layers"]
    for name in ("query", "key", "value"):
        assert layers["attention"][f"{name}_bias"].spec == P(None, "tensor", None)
    assert layers["mlp"]["up_bias"].spec == P(None, "tensor")
    assert layers["mlp"]["down_bias"].spec == layers["attention"]["output_bias"].spec == P(None, None)
    assert shardings["position_embedding"].spec == P(None, "fsdp")


@pytest.mark.parametrize("name", ["norm", "mlp", "positions", "biases"])
def test_choices_that_do_not_exist_are_refused(name: str) -> None:
    config = dataclasses.replace(GPT2, **{name: "other"})
    with pytest.raises(ConfigError, match=f"model.{name} is 'other'; it can be"):
        decoder.abstract_params(config)
    with pytest.raises(ConfigError, match=f"model.{name}='other' is not one of"):
        validation.check(Config(model=config, train=TrainConfig(steps=1), data=DataConfig(max_length=8)))


@pytest.mark.parametrize(
    ("change", "max_length", "message"),
    [
        ({}, 17, r"data\.max_length=17 is above model\.max_positions=16"),
        (
            {"rope_scaling": RopeScaling("linear", 2.0)},
            16,
            r"model\.rope_scaling\.kind='linear' has no effect with model\.positions='learned'",
        ),
        ({"positions": "rotary", "head_dim": 7}, 16, r"model\.head_dim must be even"),
        ({"head_dim": 7}, 16, None),  # only rotary positions turn pairs
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    change: dict[str, Any], max_length: int, message: str | None
) -> None:
    model = dataclasses.replace(GPT2, **change)
    config = Config(model=model, train=TrainConfig(steps=1), data=DataConfig(max_length=max_length))
    if message is None:
        validation.check(config)
        assert counts.num_params(model)
        return
    with pytest.raises(ConfigError, match=message):
        validation.check(config)


@pytest.mark.parametrize("name", ["layer_norm", "gelu", "learned"])
def test_a_mixture_that_no_architecture_has_is_not_written(name: str, tmp_path: Path) -> None:
    config = variant(name)
    field, value = next(iter(GPT2_VARIANTS[name].items()))
    message = f"no architecture has all parts of this model; for LlamaForCausalLM, model.{field} is '{value}'"
    with pytest.raises(CheckpointError, match=message):
        huggingface.save_params(random_params(config), config, tmp_path)
    assert not list(tmp_path.iterdir())


def load(directory: Path) -> tuple[ModelConfig, decoder.Params]:
    config = checkpoints.resolve_model(ModelConfig(path=str(directory), compute_dtype="float32"))
    device = SingleDeviceSharding(jax.devices()[0])
    shardings = jax.tree.map(lambda _: device, decoder.abstract_params(config))
    return config, checkpoints.load_pretrained(config, shardings)


@pytest.mark.parity
@pytest.mark.parametrize("bare", [False, True])
def test_a_checkpoint_of_transformers_gives_its_logits(bare: bool, tmp_path: Path) -> None:
    model = peer()
    import torch

    # The hub's own GPT-2 was saved from the bare model: no `transformer.` in front of its names.
    (model.transformer if bare else model).save_pretrained(tmp_path)
    if bare:
        model.config.save_pretrained(tmp_path)
        edit_json(tmp_path / "config.json", architectures=["GPT2LMHeadModel"])
    config, params = load(tmp_path)
    with torch.no_grad():
        expected = model(torch.tensor(TOKENS)[None]).logits[0].numpy()
    assert np.abs(expected).max() > 3
    np.testing.assert_allclose(
        decoder.logits(params, config, *alone(TOKENS))[0], expected, rtol=0, atol=PARITY
    )


@pytest.mark.parity
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_reads_what_we_write(tied: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    config = dataclasses.replace(GPT2, tie_embeddings=tied)
    params = random_params(config)
    huggingface.save_params(params, config, tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = model(torch.tensor(TOKENS)[None]).logits[0].numpy()
    ours = decoder.logits(params, config, *alone(TOKENS))[0]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_read_again_with_masks_passed_over(tmp_path: Path) -> None:
    params = random_params(GPT2)
    huggingface.save_params(params, GPT2, tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    tensors["transformer.h.0.attn.bias"] = np.ones((1, 1, 16, 16), bool)
    tensors["transformer.h.0.attn.masked_bias"] = np.float32([-1e4])
    safetensors.numpy.save_file(tensors, file)
    config, same = load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    assert dataclasses.replace(config, path="", family="") == GPT2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx is true; it must be false",
        ),
        ({"scale_attn_weights": False}, "scale_attn_weights is false; it must be true"),
        ({"activation_function": "relu"}, 'activation_function is "relu"; it must be "gelu_new" or'),
        ({"n_embd": 30}, "n_embd is 30; it must be a multiple of n_head, 4"),
    ],
)
def test_what_the_decoder_lacks_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    huggingface.save_params(random_params(GPT2), GPT2, tmp_path)
    edit_json(tmp_path / "config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_feed_forward_of_no_size_is_four_times_the_width(tmp_path: Path) -> None:
    config = dataclasses.replace(GPT2, mlp_dim=4 * GPT2.embed_dim)
    huggingface.save_params(random_params(config), config, tmp_path)
    edit_json(tmp_path / "config.json", n_inner=None)
    assert load(tmp_path)[0].mlp_dim == 128
