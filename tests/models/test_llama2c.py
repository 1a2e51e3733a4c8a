"""llama2.c checkpoints: the real stories260K, a file with an untied head, and files that are not whole."""

import dataclasses
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError, ConfigError
from im_jax.models import counts, decoder, decoding
from im_jax.models.checkpoints import load_pretrained, resolve_model
from tests.data import synthetic
from tests.models.llama2c_file import write_model
from tests.models.reference import reference_logits

BOS = 1


def load(path: Path) -> tuple[ModelConfig, decoder.Params]:
    config = resolve_model(ModelConfig(path=str(path), compute_dtype="float32"))
    device = SingleDeviceSharding(jax.devices()[0])
    return config, load_pretrained(config, jax.tree.map(lambda _: device, decoder.abstract_params(config)))


def read_pieces(path: Path) -> list[bytes]:
    """Pieces of a llama2.c tokenizer: int32 longest, then float32 score, int32 length, bytes of each."""
    data, start, pieces = path.read_bytes(), 4, []
    while start < len(data):
        _, length = struct.unpack_from("<fi", data, start)
        pieces.append(data[start + 8 : start + 8 + length])
        start += 8 + length
    return pieces


def test_stories260k_tells_the_story_of_its_document(shared_data: Path) -> None:
    folder = shared_data / "tinyllamas_stories260k"
    document = (folder / "stories260K.md").read_text(encoding="utf-8")
    story = document.split("-t 0.0\n")[1].split("\n```")[0]
    assert story.startswith("Once upon a time") and len(story) > 500

    config, params = load(folder / "stories260K.bin")
    assert counts.num_params(config) == 260_032
    # run.c takes 256 steps and shows the piece of each but the start token.
    decoded = decoding.greedy(params, config, np.array([[BOS]]), np.array([1]), 256, (BOS,))
    pieces = read_pieces(folder / "tok512.bin")
    text = b"".join(pieces[token] for token in decoded.tokens[0, 1 : int(decoded.lengths[0])])
    told = text.replace(b"<0x0A>", b"\n").decode().removeprefix(" ")
    assert told.startswith(story)
    assert told.removeprefix(story) in ("", '"', '"\n')


def test_a_small_checkpoint_continues_as_the_most_likely_token_of_the_whole_text(tmp_path: Path) -> None:
    vocabulary = len(read_pieces(synthetic.llama2c_tokenizer(tmp_path)))
    write_model(tmp_path / "model.bin", tied=True, vocabulary=vocabulary, length=32)
    config, params = load(tmp_path / "model.bin")
    tokens = [BOS]
    while len(tokens) < 25:
        tokens.append(int(np.argmax(reference_logits(params, config, np.array(tokens))[-1])))
    decoded = decoding.greedy(params, config, np.array([[BOS]]), np.array([1]), 24, ())
    assert decoded.tokens[0].tolist() == tokens
    assert len(set(tokens)) > 5


@pytest.mark.parametrize("tied", [True, False])
def test_weights_land_where_the_format_says(tmp_path: Path, tied: bool) -> None:
    weights = write_model(tmp_path / "model.bin", tied=tied)
    config, params = load(tmp_path / "model.bin")
    assert config.tie_embeddings == tied
    attention, mlp = params["layers"]["attention"], params["layers"]["mlp"]
    np.testing.assert_array_equal(params["embedding"], weights["embedding"])
    if not tied:
        np.testing.assert_array_equal(params["head"], weights["head"].T)
    x = np.random.default_rng(1).normal(size=16).astype(np.float32)
    for layer in (0, 1):
        value = np.einsum("d,dgk->gk", x, attention["value"][layer]).ravel()
        np.testing.assert_allclose(value, weights["value"][layer] @ x, rtol=1e-5, atol=1e-6)
        down = np.arange(24) @ mlp["down"][layer]
        np.testing.assert_allclose(down, weights["down"][layer] @ np.arange(24), rtol=1e-5, atol=1e-4)
        # Neighbours (0 1)(2 3) of each head have become halves 0 2 1 3.
        query = np.einsum("d,dhk->hk", x, attention["query"][layer])
        neighbours = (weights["query"][layer] @ x).reshape(4, 4)
        np.testing.assert_allclose(query, neighbours[:, [0, 2, 1, 3]], rtol=1e-5, atol=1e-6)
    tokens = np.array([3, 1, 4, 1, 5])
    ours = decoder.logits(
        params, config, *(jax.numpy.asarray(row)[None] for row in (tokens, tokens * 0, np.arange(5)))
    )
    np.testing.assert_allclose(ours[0], reference_logits(params, config, tokens), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a llama2.c checkpoint of the legacy format"),
        (b"GGUF" + bytes(range(200)), "llama2.c checkpoint of the legacy format"),
        (struct.pack("<7i", 16, 24, 2, 3, 2, 20, 8), "its header says"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "model.bin")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_model(path, tied=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(
        CheckpointError, match=f"has {len(whole) - 4} bytes, but its header asks for {len(whole)}"
    ):
        load(path)


def test_a_file_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model.bin", tied=True)
    config, params = load(tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=r"missing 9 tensors: rms_att_weight\.2"):
        load_pretrained(dataclasses.replace(config, num_layers=3), params)
    with pytest.raises(ConfigError, match=r"model.vocab_size is 7, but .* has a vocabulary of 20"):
        resolve_model(ModelConfig(path=str(tmp_path / "model.bin"), vocab_size=7))


@pytest.mark.parametrize("name", ["", "missing.bin", "folder"])
def test_a_path_that_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ConfigError, match=r"model\.path is .* (neither a directory with a config\.json|nothing of that name)"
    ):
        resolve_model(ModelConfig(path=str(tmp_path / name)))


def test_name_of_a_model_in_a_hub_is_told_from_a_path() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_model(ModelConfig(path="meta-llama/Llama-2-7b-hf"))
    assert str(caught.value).endswith(
        "llama2.c .bin file, but may be the name of a model in the Hugging Face hub: hf download "
        "meta-llama/Llama-2-7b-hf --local-dir Llama-2-7b-hf, then set --config.model.path=Llama-2-7b-hf"
    )
