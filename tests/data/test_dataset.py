"""One type for encoded examples: in memory or mapped from disk, and how much it holds."""

import dataclasses
import gc
import itertools
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.config import Config, DataConfig
from im_jax.data.dataset import EncodedDataset
from im_jax.data.duplicates.digests import digests
from im_jax.data.encoding import EncodedExample, encode_conversations
from im_jax.data.first_fingerprint import first_fingerprint
from im_jax.data.generated import GeneratedSource
from im_jax.data.ids import Ids
from im_jax.data.prepare import Encoder, prepare
from im_jax.data.store.folder import FolderWriter, open_folder
from im_jax.data.store.joining import InMemory
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError
from im_jax.losses.policy import policy_weights
from im_jax.token_classes import NUM_CLASSES
from tests.alone import alone
from tests.data.encoded_examples import (
    COUNT,
    assert_holds,
    examples,
    fingerprint_of,
    first_fingerprint_of,
    stored,
)


def dataset_of_part(part: list[EncodedExample]) -> EncodedDataset:
    whole = EncodedDataset.from_examples(part)
    return dataclasses.replace(whole, histograms=whole.histograms.astype(np.uint8))


@pytest.mark.parametrize("weighted", [0.0, 0.3, 1.0])
def test_examples_come_out_as_they_went_in(weighted: float, tmp_path: Path) -> None:
    made = examples(weighted=weighted)
    dataset = EncodedDataset.from_examples(made)
    assert_holds(dataset, made)
    assert dataset.fingerprint() == fingerprint_of(made)
    opened = stored(dataset, tmp_path / "set")
    assert_holds(opened, made)
    assert opened.fingerprint() == dataset.fingerprint()
    assert first_fingerprint(dataset) == first_fingerprint(opened) == first_fingerprint_of(made)


@pytest.mark.parametrize("cuts", [[], [1], [100, 100, 299], [0, 7]])
def test_parts_joined_are_the_whole(cuts: list[int], tmp_path: Path) -> None:
    made = examples()
    edges = [0, *cuts, COUNT]
    writer, joined = FolderWriter(tmp_path / "set"), InMemory()
    for start, end in itertools.pairwise(edges):
        part = dataset_of_part(made[start:end])
        writer.add(part)
        joined.add(part)
    writer.finish({})
    for found in (joined.finish(), open_folder(tmp_path / "set")[0]):
        assert_holds(found, made)
        assert found.fingerprint() == fingerprint_of(made)
        np.testing.assert_array_equal(found.histograms, EncodedDataset.from_examples(made).histograms)


def test_weights_are_written_only_where_there_are_any(tmp_path: Path) -> None:
    stored(EncodedDataset.from_examples(examples(weighted=0)), tmp_path / "without")
    stored(EncodedDataset.from_examples(examples(weighted=1)), tmp_path / "with")
    assert (
        not list((tmp_path / "without" / "set").glob("weight*"))
        and len(list((tmp_path / "with" / "set").glob("weight*"))) == 2
    )


def test_of_no_examples_there_is_nothing(tmp_path: Path) -> None:
    nothing = EncodedDataset.from_examples([])
    assert len(nothing) == 0 and nothing.fingerprint() == fingerprint_of([])
    assert_holds(stored(nothing, tmp_path), [])


def test_words_turns_and_whole_lengths_of_each_example_are_kept(tmp_path: Path) -> None:
    source = GeneratedSource(40, 3)
    tokenizer = make_tokenizer("bytes")
    config = DataConfig(max_length=200)
    encoder = Encoder(config, make_template("tulu", tokenizer), tokenizer, policy_weights("it"))
    dataset, _ = encoder.encode(source)
    opened = stored(dataset, tmp_path)
    uncut = encode_conversations(
        [source[i] for i in range(40)], encoder.template, tokenizer, max_length=10_000
    )
    for i in range(len(opened)):
        number = int(opened[i].id.rpartition("-")[2])
        texts: dict[bool, list[str]] = {True: [], False: []}
        for message in source[number].messages:
            texts[message.role == "assistant"].append(message.text)
        assert opened.instruction_words[i] == sum(len(t.split()) + 1 for t in texts[False])
        assert opened.output_words[i] == sum(len(t.split()) + 1 for t in texts[True])
        assert opened.turns[i] == len(texts[True])
        assert opened.full_length[i] == len(uncut[number].tokens) >= opened.lengths[i]
    assert (opened.full_length > opened.lengths).any()


def test_histograms_count_what_a_policy_may_train() -> None:
    made = examples()
    counted = EncodedDataset.from_examples(made).targets(np.arange(COUNT))
    for example, counts in zip(made, counted, strict=True):
        expected = np.zeros(NUM_CLASSES, int)
        for token in range(1, len(example.tokens)):  # nothing predicts the first
            expected[example.classes[token]] += example.weights[token] > 0
        assert counts.tolist() == expected.tolist()


@pytest.mark.parametrize("policy", ["it", "im", "all", "last_turn"])
def test_counts_by_policy_are_those_of_the_tokens_one_by_one(policy: str) -> None:
    weights = policy_weights(policy)
    config = Config(data=DataConfig(num_generated=120, max_length=150))
    config.eval.num_examples = 0
    data = prepare(config, make_tokenizer("bytes"), weights)
    trained = stops = 0
    for i in range(len(data.train)):
        example = data.train[i]
        carries = (weights[example.classes] * example.weights)[1:] > 0
        trained += bool(carries.any())
        stops += bool(carries[example.classes[1:] == 10].any())
    assert (data.report.trained, data.report.stop_trained) == (trained, stops)
    assert data.report.without_target == len(data.train) - trained


def test_mapped_arrays_are_not_read_into_memory(tmp_path: Path) -> None:
    length = 50_000
    one = EncodedExample("a", np.arange(length, dtype=np.int32), np.ones(length, np.uint8), *_rest(length))
    opened = stored(EncodedDataset.from_examples([one] * 4), tmp_path)
    assert isinstance(opened.tokens, np.memmap) and isinstance(opened.classes, np.memmap)
    np.testing.assert_array_equal(opened[3].tokens, one.tokens)


def _rest(length: int) -> tuple[np.ndarray, int, int]:
    return np.ones(length, np.float32), length, 0


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "lengths.bin").unlink(), r"lengths\.bin is missing"),
        (lambda folder: os.truncate(folder / "tokens.bin", 7), r"tokens\.bin has 7 bytes and should have"),
        (
            lambda folder: (folder / "manifest.json").write_text("{"),
            r"manifest\.json is not what was written",
        ),
        (
            lambda folder: (folder / "manifest.json").write_text("[]"),
            r"manifest\.json is not what was written",
        ),
    ],
)
def test_a_damaged_folder_is_named(harm: Any, message: str, tmp_path: Path) -> None:
    stored(EncodedDataset.from_examples(examples()), tmp_path)
    harm(tmp_path / "set")
    with pytest.raises(DataError, match=message):
        open_folder(tmp_path / "set")


def test_counts_of_other_token_classes_are_refused(tmp_path: Path) -> None:
    dataset = EncodedDataset.from_examples(examples())
    with pytest.raises(DataError, match="of a version with other token classes"):
        stored(dataclasses.replace(dataset, histograms=dataset.histograms[:, :12]), tmp_path)


def test_ids_of_every_kind_are_kept() -> None:
    names = [
        "a.jsonl:1",
        "a.jsonl:2",
        "b.jsonl:2",
        "007",
        "0",
        "00",
        "x",
        "",
        "7",
        "-3",
        "é:1",
        "\uff11\uff12",
        "a\n5",
    ]
    names += ["9" * 30, "1" + "0" * 17, "f\udcff:3", "id-0", "id-01", "12ab", "12ab"]
    ids = Ids.of(names)
    assert list(ids) == names
    assert list(ids.take(np.array([3, 0]))) == ["007", "a.jsonl:1"]
    assert list(ids[1:3]) == names[1:3]


def _short_examples(count: int) -> Iterator[EncodedExample]:
    rng = np.random.default_rng(0)
    for number in range(count):
        tokens = rng.integers(0, 1000, 60).astype(np.int32)
        classes = rng.integers(1, 8, 60).astype(np.uint8)
        yield EncodedExample(
            f"/data/sets/train.jsonl:{number + 1}", tokens, classes, np.ones(60, np.float32), 60, 0
        )


def _joined(count: int) -> tuple[int, int, int]:
    """Examples, and bytes that joining them holds in the end and at most."""
    tracemalloc.start()
    joined = InMemory()
    made = _short_examples(count)
    while part := list(itertools.islice(made, 500)):
        joined.add(EncodedDataset.from_examples(part))
    dataset = joined.finish()
    del joined, part
    held, peak = tracemalloc.get_traced_memory()
    return len(dataset), held, peak


def test_short_examples_take_seven_bytes_a_token() -> None:
    count = 20_000
    joined, held, peak = alone(_joined, count)
    assert joined == count
    assert held < 7 * 60 * count
    assert peak < 9 * 60 * count  # no list of examples beside it, nor a second copy


def _encoded(count: int) -> tuple[int, int, int]:
    """Tokens of a source, and bytes that encoding it holds in the end and at most."""
    tokenizer = make_tokenizer("bytes")
    config = DataConfig(max_length=1024)
    encoder = Encoder(config, make_template("tulu", tokenizer), tokenizer, policy_weights("it"))
    encoder.encode(GeneratedSource(10, 0))  # whatever is made once
    tracemalloc.start()
    dataset, _ = encoder.encode(GeneratedSource(count, 0))
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    return int(dataset.lengths.sum()), held, peak


def test_encoding_a_source_keeps_nothing_but_its_arrays() -> None:
    tokens, held, peak = alone(_encoded, 3000)
    assert held < 6.5 * tokens
    assert peak < held + 20e6  # a chunk of a thousand as text and tokens


def test_digests_of_an_example_stay_with_it(tmp_path: Path) -> None:
    tokenizer = make_tokenizer("bytes")
    encoder = Encoder(DataConfig(), make_template("tulu", tokenizer), tokenizer, policy_weights("it"))
    source = GeneratedSource(50, 0)
    dataset, _ = encoder.encode(source)
    conversations = {source[i].id: source[i] for i in range(50)}
    opened = stored(dataset, tmp_path)
    for at in range(len(opened)):
        assert (opened.whole[at], opened.prompt[at]) == digests(conversations[opened[at].id])
