"""Encoded examples made by chance, what a data set of them must hold, and their fingerprints by hand."""

import hashlib
from pathlib import Path

import numpy as np

from im_jax.data.dataset import Dataset, EncodedDataset
from im_jax.data.encoding import EncodedExample
from im_jax.data.store.folder import FolderWriter, open_folder
from im_jax.token_classes import NUM_CLASSES

COUNT = 300


def examples(seed: int = 0, weighted: float = 0.3) -> list[EncodedExample]:
    """Some with weights, of which some are 0; some of a single token."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(COUNT):
        length = int(rng.integers(1, 40))
        weights = np.ones(length, np.float32)
        if rng.random() < weighted:
            weights = rng.choice(np.float32([0, 0.25, 1]), length).astype(np.float32)
        tokens = rng.integers(0, 1000, length).astype(np.int32)
        classes = rng.integers(1, NUM_CLASSES, length).astype(np.uint8)
        made.append(EncodedExample(f"file.jsonl:{number + 1}", tokens, classes, weights, length, 0))
    return made


def assert_holds(dataset: Dataset, expected: list[EncodedExample]) -> None:
    assert len(dataset) == len(expected)
    for i, example in enumerate(expected):
        found = dataset[i]
        assert found.id == example.id
        for name in ("tokens", "classes", "weights"):
            np.testing.assert_array_equal(getattr(found, name), getattr(example, name))
            assert getattr(found, name).dtype == getattr(example, name).dtype
    assert dataset.lengths.tolist() == [len(example.tokens) for example in expected]


def stored(dataset: EncodedDataset, folder: Path) -> EncodedDataset:
    """Written to a folder, and mapped from there."""
    writer = FolderWriter(folder / "set")
    writer.add(dataset)
    writer.finish({"told": 1})
    opened, facts = open_folder(folder / "set")
    assert facts == {"told": 1}
    return opened


def fingerprint_of(expected: list[EncodedExample]) -> str:
    """By 64 bits of BLAKE2 of each example."""
    digest = hashlib.sha256()
    for example in expected:
        parts = [example.tokens, example.classes]
        parts += [example.weights] if (example.weights != 1).any() else []
        digest.update(hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=8).digest())
    return digest.hexdigest()


def first_fingerprint_of(expected: list[EncodedExample]) -> str:
    """As it has been since the first release: runs that were begun then go on."""
    lengths = [len(example.tokens) for example in expected]
    digest = hashlib.sha256(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64).data)
    for name, dtype in (("tokens", np.int32), ("classes", np.uint8), ("weights", np.float32)):
        parts = [getattr(example, name) for example in expected]
        digest.update(np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype).data)
    return digest.hexdigest()
