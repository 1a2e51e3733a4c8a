"""What llama.cpp makes of a folder: the rules of its converter, its tokenizer and its Llama, in NumPy.

Restated from convert_hf_to_gguf.py (`conversion/base.py`, `conversion/llama.py`), gguf's `SpecialVocab` and
`llm_tokenizer_spm`: which files and keys are asked for, where queries and keys are reordered, and how a text is
cut. The converter stops where this fails.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from sentencepiece import SentencePieceProcessor

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
NAMES = {
    "model.embed_tokens.weight": "token_embd",
    "model.norm.weight": "output_norm",
    "lm_head.weight": "output",
    "input_layernorm.weight": "attn_norm",
    "self_attn.q_proj.weight": "attn_q",
    "self_attn.k_proj.weight": "attn_k",
    "self_attn.v_proj.weight": "attn_v",
    "self_attn.o_proj.weight": "attn_output",
    "post_attention_layernorm.weight": "ffn_norm",
    "mlp.gate_proj.weight": "ffn_gate",
    "mlp.up_proj.weight": "ffn_up",
    "mlp.down_proj.weight": "ffn_down",
}


class Converted(NamedTuple):
    """A GGUF file."""

    keys: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    tokens: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]


def convert(folder: Path) -> Converted:
    """The file that the converter makes of a Llama with a SentencePiece tokenizer."""
    config = read(folder, "config.json")
    assert config["architectures"] == ["LlamaForCausalLM"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    rope = config.get("rope_parameters", config.get("rope_scaling")) or {}
    beside = read(folder, "tokenizer_config.json")
    added = read(folder, "tokenizer.json")["added_tokens"]
    special = {
        name: next((token["id"] for token in added if token["content"] == beside.get(f"{name}_token")), None)
        for name in ("bos", "eos", "unk", "pad")
    }
    for name, number in special.items():
        if number is None and isinstance(config.get(f"{name}_token_id"), int):
            special[name] = config[f"{name}_token_id"]
    keys = {
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "groups": groups,
        "width": config["hidden_size"],
        "eps": config["rms_norm_eps"],
        "theta": rope.get("rope_theta", config.get("rope_theta")),
        "rope_type": rope.get("rope_type"),
        "turned": config.get("head_dim") or config["hidden_size"] // heads,
        "space_in_front": beside.get("add_prefix_space", True),
        **special,
    }
    tensors = {}
    for name, tensor in weights(folder):
        found = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", name)
        own = f"blk.{found[1]}.{NAMES[found[2]]}" if found else NAMES[name]  # else it cannot be mapped
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = permuted(tensor, heads if "q_proj" in name else groups)
        tensors[own] = tensor.astype(np.float64)
    return Converted(keys, tensors, *vocabulary(folder, config["vocab_size"]))


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Halves of each head as pairs, which is what llama.cpp turns."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def weights(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """All tensors; names in the index and in the parts must be the same."""
    parts = sorted(path for path in folder.iterdir() if re.fullmatch(r"model.*\.safetensors", path.name))
    found: dict[str, np.ndarray] = {}
    for part in parts:
        found |= safetensors.numpy.load_file(part)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        assert read(folder, index.name)["weight_map"].keys() == found.keys()
    assert found, "no part of the weights"
    yield from found.items()


def vocabulary(folder: Path, size: int) -> tuple[list[str], list[float], list[int]]:
    """Tokens, scores and types of tokenizer.model; rows behind them are unused."""
    tokenizer = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert tokenizer.vocab_size() <= size
    tokens = [f"[PAD{number}]" for number in range(size)]
    scores, types = [-10000.0] * size, [UNUSED] * size
    for number in range(tokenizer.vocab_size()):
        tokens[number], scores[number] = tokenizer.IdToPiece(number), tokenizer.GetScore(number)
        types[number] = NORMAL
        for kind, is_it in (
            (UNKNOWN, tokenizer.IsUnknown),
            (CONTROL, tokenizer.IsControl),
            (UNUSED, tokenizer.IsUnused),
            (BYTE, tokenizer.IsByte),
        ):
            if is_it(number):
                types[number] = kind
                break
    return tokens, scores, types


def tokenize(model: Converted, text: str) -> list[int]:
    """BOS, then the pair of neighbours with the best score joined until none is a token; bytes for the rest."""
    ids = {token: number for number, token in enumerate(model.tokens)}
    symbols = list((" " * model.keys["space_in_front"] + text).replace(" ", "\u2581"))
    while True:
        pairs = [
            (-model.scores[ids[left + right]], at)
            for at, (left, right) in enumerate(itertools.pairwise(symbols))
            if left + right in ids
        ]
        if not pairs:
            break
        _, at = min(pairs)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    found = [model.keys["bos"]]
    for symbol in symbols:
        found += [ids[symbol]] if symbol in ids else [ids[f"<0x{byte:02X}>"] for byte in symbol.encode()]
    return found


def text_of(model: Converted, tokens: Sequence[int]) -> str:
    """The text of tokens, without the space in front."""
    parts = []
    for token in tokens:
        if model.types[token] == BYTE:
            parts.append(bytes([int(model.tokens[token][3:5], 16)]))
        elif model.types[token] == NORMAL:
            parts.append(model.tokens[token].replace("\u2581", " ").encode())
    return b"".join(parts).decode(errors="replace").removeprefix(" " * model.keys["space_in_front"])


def continued(model: Converted, text: str, new_tokens: int) -> list[int]:
    """Tokens of a text with its most likely continuation, up to the EOS."""
    tokens = tokenize(model, text)
    for _ in range(new_tokens):
        token = int(np.argmax(logits(model, tokens)))
        if token == model.keys["eos"]:
            break
        tokens.append(token)
    return tokens


def logits(model: Converted, tokens: Sequence[int]) -> np.ndarray:
    """Of the token behind some, in float64; rotary pairs are neighbours."""
    keys, tensors = model.keys, model.tensors
    assert keys["rope_type"] in (None, "default")
    size, length = keys["turned"], len(tokens)
    angles = np.outer(np.arange(length), keys["theta"] ** (-np.arange(0, size, 2) / size))
    turn = np.exp(1j * angles)[:, None]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + keys["eps"]) * tensors[name]

    def turned(x: np.ndarray) -> np.ndarray:
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    x = tensors["token_embd"][list(tokens)]
    future = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(keys["layers"]):
        block = f"blk.{layer}."
        h = norm(x, f"{block}attn_norm")
        query, key, value = ((h @ tensors[f"{block}attn_{n}"].T).reshape(length, -1, size) for n in "qkv")
        query, key = turned(query), turned(key)
        key, value = (part.repeat(keys["heads"] // keys["groups"], axis=1) for part in (key, value))
        scores = np.einsum("qhk,shk->hqs", query, key) / np.sqrt(size) + future
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = (
            x
            + np.einsum("hqs,shk->qhk", shares, value).reshape(length, -1) @ tensors[f"{block}attn_output"].T
        )
        h = norm(x, f"{block}ffn_norm")
        gate = h @ tensors[f"{block}ffn_gate"].T
        up = h @ tensors[f"{block}ffn_up"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ tensors[f"{block}ffn_down"].T
    return norm(x[-1], "output_norm") @ tensors.get("output", tensors["token_embd"]).T


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))
