"""One chunk of records, encoded: what a worker process does, all examples of a chunk at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from im_jax.config import DataConfig
from im_jax.data.dataset import DIGESTS, MEASURES, EncodedDataset, dataset_of
from im_jax.data.duplicates.digests import digests
from im_jax.data.encoding import EncodedTexts, encode_rendered
from im_jax.data.files import CHUNK, Chunk, LeftOutRecord
from im_jax.data.ids import Ids
from im_jax.data.records import Conversation, NameCheck, RecordReader
from im_jax.data.sources import Source
from im_jax.data.statistics import DataReport, measures
from im_jax.data.templates import Rendered, Template, make_template
from im_jax.data.tokenizers import Tokenizer, bounds_of, make_tokenizer
from im_jax.errors import DataError
from im_jax.token_classes import NUM_CLASSES, OUTPUT_CLASSES

CODE: Final = 10
"""Raised by hand with every change, here or in what is called, by which the same files give other arrays or
counts: sets that were kept are then encoded anew. `tests/data/store/test_golden.py` fails where it is
forgotten for what it looks at; a new choice that is off by default needs no other number."""
_OUTPUT: Final = np.isin(np.arange(NUM_CLASSES), OUTPUT_CLASSES)


@dataclass(frozen=True)
class Conversations:
    """A chunk of conversations that are made, not read."""

    items: tuple[Conversation, ...]

    def __len__(self) -> int:
        return len(self.items)

    def records(self) -> Iterator[Conversation]:
        """All of them."""
        return iter(self.items)


AnyChunk = Chunk | Conversations


def chunks_of(source: Source, size: int = CHUNK) -> Iterator[Conversations]:
    """The conversations of a source."""
    for start in range(0, len(source), size):
        yield Conversations(tuple(source[i] for i in range(start, min(start + size, len(source)))))


@dataclass(frozen=True, eq=False)
class EncodedChunk:
    """The kept examples of a chunk, and counts of all."""

    dataset: EncodedDataset
    report: DataReport
    """But for what depends on a policy: see `DataReport.count_targets`."""
    usable: int
    """Records that could be read, whatever became of them."""
    names: NameCheck
    """What was found of the names that `data.fields` gives."""


@dataclass(frozen=True)
class Job:
    """What is needed to encode chunks in any process."""

    data: DataConfig
    tokenizer_path: str

    def encoder(self) -> "ChunkEncoder":
        """Raises `DataError` as `make_tokenizer` and `make_template`."""
        tokenizer = make_tokenizer(self.tokenizer_path)
        return ChunkEncoder(
            self.data, make_template(self.data.template, tokenizer, self.data.date), tokenizer
        )


@dataclass(frozen=True)
class ChunkEncoder:
    """Encodes chunks with a template and a tokenizer."""

    data: DataConfig
    template: Template
    tokenizer: Tokenizer

    def encode(self, chunk: AnyChunk) -> EncodedChunk:
        """Read, render, tokenise, classify, truncate and count.

        Raises:
            DataError: the first record that cannot be used, unless `data.on_bad_example=skip`.
        """
        reading = _Reading(self.data, self.template)
        read = list(reading.read(chunk))
        texts = encode_rendered(
            [rendered for _, rendered in read],
            self.template,
            self.tokenizer,
            max_length=self.data.max_length,
            truncation=self.data.truncation,
        )
        reading.report.malformed = len(reading.report.skipped)
        conversations = [conversation for conversation, _ in read]
        dataset = self._kept(conversations, texts, reading.report)
        return EncodedChunk(dataset, reading.report, reading.usable, reading.names)

    def _kept(
        self, conversations: Sequence[Conversation], texts: EncodedTexts, report: DataReport
    ) -> EncodedDataset:
        """The examples that stay, with what is known of each; all are counted."""
        lengths = np.diff(texts.bounds)
        example = np.repeat(np.arange(len(lengths)), lengths)
        is_target = np.ones(len(example), bool)
        is_target[texts.bounds[:-1][lengths > 0]] = False  # nothing predicts the first
        outputs = np.bincount(example[is_target & _OUTPUT[texts.classes]], minlength=len(lengths))
        too_long = lengths == 0
        silent = ~too_long & (outputs == 0) & self.data.drop_without_output
        measured = [
            measures(conversation, int(length))
            for conversation, length in zip(conversations, texts.full_length, strict=True)
        ]
        report.too_long += int(too_long.sum())
        report.without_output += int(silent.sum())
        for index in np.flatnonzero(too_long | silent).tolist():
            report.leave_out(measured[index])
        kept = np.flatnonzero(~(too_long | silent))
        report.truncated += int((lengths < texts.full_length)[kept].sum())
        report.special_in_content += int(texts.special_in_content[kept].sum())
        for name in ("instruction_words", "output_words"):
            total = sum(measured[index][name] for index in kept.tolist())
            setattr(report, name, getattr(report, name) + total)
        stays = np.repeat(~(too_long | silent), lengths)
        of_texts = [digests(conversations[index]) for index in kept.tolist()]
        known = {name: np.array([measured[i][name] for i in kept.tolist()], np.int32) for name in MEASURES}
        known |= {name: np.array([getattr(d, name) for d in of_texts], np.uint64) for name in DIGESTS}
        dataset = dataset_of(
            texts.tokens[stays],
            texts.classes[stays],
            texts.weights[stays],
            bounds_of(lengths[kept].tolist()),
            Ids.of([conversations[index].id for index in kept.tolist()]),
            known,
            max_length=self.data.max_length,
        )
        report.tokens += np.bincount(dataset.classes, minlength=NUM_CLASSES)
        return dataset


class _Reading:
    """Conversations and texts of a chunk, and what is wrong with the others."""

    def __init__(self, data: DataConfig, template: Template) -> None:
        self._data, self._template = data, template
        self._reader = RecordReader(data.fields, data.turns, data.on_bad_example)
        self.names = self._reader.names
        self.report = DataReport(skipped=self._reader.skipped, left_out_by_turns=self._reader.left_out)
        self.usable = 0

    def read(self, chunk: AnyChunk) -> Iterator[tuple[Conversation, Rendered]]:
        """Each record as a whole before the next, so that the first bad one is the first that is met."""
        for record in chunk.records():
            if isinstance(record, LeftOutRecord):
                self.report.left_out_by_recipe[record.reason] += 1
                continue
            conversation = record if isinstance(record, Conversation) else self._reader.read(record)
            if conversation is None:
                continue
            self.usable += 1
            self.report.unread.update(conversation.unread)
            self.report.turn_choices.update(conversation.turn_choices)
            try:
                rendered = self._template.render(conversation)
            except DataError as error:
                if self._data.on_bad_example == "stop":
                    raise
                self.report.skipped.append(str(error))
            else:
                self.report.notes.update(rendered.notes)
                yield conversation, rendered
