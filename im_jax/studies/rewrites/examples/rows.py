"""Rows of rewrite examples for training, made when they are asked for."""

import dataclasses
import hashlib
import json
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.batch import Batch
from im_jax.config import RewritesConfig
from im_jax.data.dataset import DIGESTS, ExampleView, Flat
from im_jax.data.duplicates.tokens import token_digests
from im_jax.data.statistics import measures
from im_jax.studies.rewrites.examples.bulk import BulkEncoder
from im_jax.studies.rewrites.examples.task import RewriteTask
from im_jax.token_classes import NUM_CLASSES

_CHUNK: Final = 1 << 20
_FINGERPRINTED: Final = 1024
"""Examples that are looked at: the rest follows from the configuration."""


class RewriteRows:
    """Random access to rows of one or more examples side by side, as `im_jax.data.packing.Rows`.

    Input: a task, its encoder, the first `count` examples, tokens of a row, examples of a row, what they
        are called before their number.
    Output: `rows.batch(numbers)` is a `Batch` of `[len(numbers), L]`.
    """

    def __init__(
        self, task: RewriteTask, encoder: BulkEncoder, count: int, length: int, per_row: int, name: str
    ) -> None:
        self._task, self._encoder, self._count = task, encoder, count
        self._length, self._per_row, self._name = length, per_row, name

    def __len__(self) -> int:
        return -(-self._count // self._per_row)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(field[0] for field in self.batch(np.array([index]))))

    def ids(self, index: int) -> list[str]:
        """See `im_jax.data.packing.RowSource.ids`."""
        first = index * self._per_row
        return [f"{self._name}-{item}" for item in range(first, min(first + self._per_row, self._count))]

    def batch(self, numbers: jt.Int[np.ndarray, " B"]) -> Batch:
        """Rows with these numbers; the last row may hold fewer examples."""
        rows, width = len(numbers), self._encoder.longest
        items = (np.asarray(numbers, np.int64)[:, None] * self._per_row + np.arange(self._per_row)).reshape(
            -1
        )
        exists = items < self._count
        encoded = self._encoder.encode(np.where(exists, items, 0))
        place = np.arange(width)
        used = (place < encoded.lengths[:, None]) & exists[:, None]
        segment = (np.arange(len(items)) % self._per_row + 1)[:, None]

        def laid_out(values: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
            whole = np.zeros((rows, self._length), dtype)
            whole[:, : self._per_row * width] = np.where(used, values, 0).reshape(rows, -1)
            return whole

        return Batch(
            tokens=laid_out(encoded.tokens, np.int32),
            classes=laid_out(encoded.classes, np.uint8),
            segments=laid_out(segment, np.int32),
            positions=laid_out(place, np.int32),
            message_weights=np.ones((rows, self._length), np.float32),
        )


class RewriteDataset:
    """The first `count` examples of a task: an `im_jax.data.dataset.Dataset` of which nothing is stored."""

    def __init__(
        self, task: RewriteTask, encoder: BulkEncoder, config: RewritesConfig, count: int, name: str
    ) -> None:
        self._task, self._encoder, self._config = task, encoder, config
        self._count, self._name = count, name

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> ExampleView:
        encoded = self._encoder.encode(np.array([index]))
        end = encoded.lengths[0]
        ones = np.ones(end, np.float32)
        name = f"{self._name}-{index}"
        return ExampleView(name, encoded.tokens[0, :end], encoded.classes[0, :end], ones)

    @property
    def lengths(self) -> jt.Int32[np.ndarray, " E"]:
        """See `Dataset.lengths`."""
        lengths = np.zeros(self._count, np.int32)
        for start in range(0, self._count, _CHUNK):
            items = np.arange(start, min(start + _CHUNK, self._count))
            kinds, which = np.unique(self._answer_lengths(items), return_inverse=True)
            lengths[items] = np.array([self._encoder.mould(kind).tokens.size for kind in kinds.tolist()])[
                which
            ]
        return lengths

    def targets(self, numbers: jt.Int[np.ndarray, " N"]) -> jt.UInt[np.ndarray, "N C"]:
        """See `Dataset.targets`."""
        kinds, which = np.unique(self._answer_lengths(np.asarray(numbers, np.int64)), return_inverse=True)
        counts = [
            np.bincount(self._encoder.mould(kind).classes[1:], minlength=NUM_CLASSES)
            for kind in kinds.tolist()
        ]
        return np.array(counts, np.uint32).reshape(-1, NUM_CLASSES)[which]

    def flat(self, numbers: jt.Int[np.ndarray, " N"]) -> Flat:
        """See `Dataset.flat`."""
        encoded = self._encoder.encode(np.asarray(numbers, np.int64))
        used = np.arange(encoded.tokens.shape[1]) < encoded.lengths[:, None]
        bounds = np.concatenate([[0], np.cumsum(encoded.lengths, dtype=np.int64)])
        return Flat(encoded.tokens[used], encoded.classes[used], bounds)

    def measured(self, name: str, numbers: jt.Int[np.ndarray, " N"]) -> jt.Integer[np.ndarray, " N"]:
        """See `Dataset.measured`; digests are those of tokens."""
        if name in DIGESTS:
            return token_digests(self.flat(numbers), name)
        kinds, which = np.unique(self._answer_lengths(np.asarray(numbers, np.int64)), return_inverse=True)
        values = [
            measures(self._encoder.sample(kind), self._encoder.mould(kind).tokens.size)[name]
            for kind in kinds.tolist()
        ]
        return np.array(values, np.int32)[which]

    def _answer_lengths(self, items: jt.Int64[np.ndarray, " N"]) -> jt.Int64[np.ndarray, " N"]:
        task = self._task
        rewritten = task.input_length - task.left_length + task.right_length
        return np.where(task.is_no_op(items), task.input_length, rewritten)

    def fingerprint(self) -> str:
        """Changes with the configuration of the task and with how it is encoded."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self._config)).encode())
        digest.update(f"{self._name} {self._count}".encode())
        for array in self._encoder.encode(np.arange(min(_FINGERPRINTED, self._count))):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
