"""What is measured, and the random inputs of it: the same in every worker, whatever library runs there."""

import dataclasses
from typing import Any, Final, NamedTuple

import jaxtyping as jt
import numpy as np

ROW_LENGTH: Final = 512
"""Tokens of a row of the cross-entropy benchmark, where N is a multiple; else all N are one row."""
SEED: Final = 0


@dataclasses.dataclass(frozen=True)
class Case:
    """One condition under which all contestants are compared; travels to the workers as JSON."""

    benchmark: str
    """`cross_entropy`, `attention`, `train_step`, `lora`, `rewrites`, `prepare`, `likelihood` or
    `generate`."""
    shape: tuple[int, ...]
    """cross_entropy: N, D, V. attention: B, L, H, K. train_step, lora: B, L. rewrites: B, letters of the
    strings, letters of each side of a rule. prepare: conversations, tokens of a row.
    likelihood: questions, the model's positions. generate: prompts, tokens of an answer, at most."""
    dtype: str
    """`float32` or `bfloat16`."""
    active: float = 1.0
    """Share of the tokens that carry loss."""
    examples: int = 1
    """attention: examples that share a row."""
    model: tuple[int, ...] = ()
    """train_step, lora, likelihood, generate: vocabulary, model dimension, layers, heads, key and value
    heads, feed-forward. rewrites: layers, heads, model dimension."""
    checkpoint: str = ""
    """train_step, lora, likelihood, generate: directory of the weights, as a Hugging Face checkpoint.
    prepare: of the records."""
    work: str = ""
    """rewrites: `train`, an optimiser step, or `evaluate`, greedy answers to a batch of prompts.
    likelihood: the task. generate: whether answers are `fixed`, as long as the shape says, or `real`."""
    rank: int = 0
    """lora: of the adapters, on all linear maps of the layers."""
    data: str = ""
    """prepare: the files whose conversations are repeated. likelihood: the folder of the tasks' files.
    generate: files of prompts, joined by commas."""
    tokenizer: str = ""
    """prepare, likelihood, generate: directory or file of the tokenizer."""

    @property
    def title(self) -> str:
        """One line for a reader."""
        parts = [f"{self.benchmark} {'x'.join(map(str, self.shape))}", self.dtype]
        if self.benchmark == "attention":
            parts.append(f"{self.examples} examples a row")
        elif self.benchmark == "prepare":
            parts = [parts[0], self.tokenizer]
        elif self.benchmark in ("rewrites", "likelihood", "generate"):
            parts += [f"model {'x'.join(map(str, self.model))}", *([self.work] if self.work else [])]
        else:
            parts += [f"rank {self.rank}"] if self.rank else []
            parts.append(f"loss on {self.active:.3g} of the tokens")
        return ", ".join(parts)


def case_from_json(fields: dict[str, Any]) -> Case:
    """The case that `dataclasses.asdict` and JSON made fields of."""
    return Case(**fields | {name: tuple(fields[name]) for name in ("shape", "model")})


class CrossEntropyInputs(NamedTuple):
    """Final hidden states, head and targets as at the start of training."""

    hidden: jt.Float32[np.ndarray, "N D"]
    """Unit root mean square."""
    head: jt.Float32[np.ndarray, "D V"]
    """Standard deviation 0.02."""
    labels: jt.Int32[np.ndarray, " N"]
    active: jt.Bool[np.ndarray, " N"]


def cross_entropy_inputs(case: Case) -> CrossEntropyInputs:
    """Random inputs of shape (N, D, V)."""
    tokens, dim, vocab = case.shape
    rng = np.random.default_rng(SEED)
    length = ROW_LENGTH if tokens % ROW_LENGTH == 0 else tokens
    size = span_size(length, case.active)
    first = rng.integers(0, length - size + 1, (tokens // length, 1))
    place = np.arange(length)
    hidden = rng.standard_normal((tokens, dim), np.float32)
    hidden /= np.sqrt(np.mean(np.square(hidden), axis=1, keepdims=True))
    return CrossEntropyInputs(
        hidden=hidden,
        head=rng.standard_normal((dim, vocab), np.float32) * np.float32(0.02),
        labels=rng.integers(0, vocab, tokens, dtype=np.int32),
        active=((place >= first) & (place < first + size)).reshape(-1),
    )


class AttentionInputs(NamedTuple):
    """Queries, keys, values and the gradient of the output, all normal; no padding."""

    query: jt.Float32[np.ndarray, "B L H K"]
    key: jt.Float32[np.ndarray, "B L H K"]
    value: jt.Float32[np.ndarray, "B L H K"]
    d_output: jt.Float32[np.ndarray, "B L H K"]
    segments: jt.Int32[np.ndarray, "B L"]


def attention_inputs(case: Case) -> AttentionInputs:
    """Random inputs of shape (B, L, H, K); each row holds `case.examples` of random lengths."""
    rng = np.random.default_rng(SEED)
    rows, length = case.shape[:2]
    segments = np.ones((rows, length), np.int32)
    for row in segments:
        for start in rng.choice(np.arange(1, length), case.examples - 1, replace=False):
            row[start:] += 1
    query, key, value, d_output = rng.standard_normal((4, *case.shape), np.float32)
    return AttentionInputs(query, key, value, d_output, segments)


def attention_mask(segments: jt.Int[np.ndarray, "B L"]) -> jt.Bool[np.ndarray, "B 1 L L"]:
    """Where a token (row) sees another (column): causal, within its segment."""
    length = segments.shape[1]
    causal = np.tri(length, dtype=bool)
    return (causal & (segments[:, :, None] == segments[:, None, :]))[:, None]


class TrainInputs(NamedTuple):
    """A batch of one example a row, without padding; the output is the end of each row."""

    tokens: jt.Int32[np.ndarray, "B L"]
    trained: jt.Bool[np.ndarray, "B L"]
    """Tokens that are targets with loss. The first token of a row is nobody's target."""


def train_inputs(case: Case) -> TrainInputs:
    """A random batch of shape (B, L)."""
    rows, length = case.shape
    tokens = np.random.default_rng(SEED).integers(0, case.model[0], (rows, length), dtype=np.int32)
    trained = np.arange(length) >= length - span_size(length, case.active)
    return TrainInputs(tokens, np.broadcast_to(trained, (rows, length)).copy())


def adapter_inputs(name: str, layer: int, inputs: int, rank: int) -> jt.Float32[np.ndarray, "inputs rank"]:
    """The initial A of the adapter of a map, such as `q_proj`: all contestants have the same."""
    rng = np.random.default_rng([SEED, layer, *name.encode()])
    return rng.uniform(-1, 1, (inputs, rank)).astype(np.float32) / np.float32(np.sqrt(inputs))


def span_size(length: int, share: float) -> int:
    """Tokens of a row that carry loss: the share, at least one."""
    return max(1, round(share * length))
