"""JSON Lines files of conversations as a TFDS data set in ArrayRecord files, without TensorFlow."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import tensorflow_datasets as tfds

from im_jax.config import FieldNames, TurnsConfig
from im_jax.data.files import located
from im_jax.data.jsonl import JsonlSource
from im_jax.data.records import DEFAULT_FIELDS, DEFAULT_TURNS, Conversation, Message
from im_jax.errors import DataError

NAME: Final = "instruction_jsonl"


class InstructionJsonl(tfds.core.GeneratorBasedBuilder):
    """The conversations of JSON Lines files; `prepare` makes and writes one."""

    VERSION = tfds.core.Version("1.1.0")

    def __init__(self, *, sources: Mapping[str, JsonlSource] = MappingProxyType({}), **kwargs: Any):
        """`sources`: what each split is written from; a set that is written already needs none."""
        self.sources = sources
        self.fingerprint = _fingerprint(sources)
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Conversations read from JSON Lines files by im_jax.",
            features=conversation_features(),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(fingerprint=self.fingerprint),
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        if not self.sources:
            raise DataError(f"{NAME}: is not prepared in {self.data_path.parent.parent}; use `prepare`")
        return {split: self._generate_examples(source) for split, source in self.sources.items()}

    def _generate_examples(self, source: JsonlSource) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(len(source)):
            yield i, example_of(source[i])


def conversation_features() -> tfds.features.FeaturesDict:
    """What TFDS stores of a conversation."""
    text = tfds.features.Text()
    message = {name: text for name in _features(Message("user", ""))}
    message["weight"] = tfds.features.Scalar(np.float32)
    return tfds.features.FeaturesDict(
        {"id": text, "messages": tfds.features.Sequence(message), "tools": text}
    )


def example_of(conversation: Conversation) -> dict[str, Any]:
    """A conversation as `conversation_features` stores it."""
    return {
        "id": conversation.id,
        "messages": [_features(message) for message in conversation.messages],
        "tools": f"[{', '.join(conversation.tools)}]" if conversation.tools else "",
    }


def _features(message: Message) -> dict[str, Any]:
    """A message under the names by which records are read; what it lacks is an empty text."""
    calls = [
        {
            "id": call.id,
            "name": call.name,
            "arguments": call.arguments if call.as_text else json.loads(call.arguments),
        }
        for call in message.tool_calls
    ]
    return {
        "role": message.role,
        "content": message.content,
        "weight": message.weight,
        "input": message.input,
        "reasoning_content": message.thought,
        "tool_calls": json.dumps(calls) if calls else "",
        "name": message.name,
        "tool_call_id": message.tool_call_id,
    }


def prepare(
    paths: str | Mapping[str, str],
    data_dir: str | os.PathLike[str],
    fields: FieldNames = DEFAULT_FIELDS,
    on_bad_example: str = "stop",
    turns: TurnsConfig = DEFAULT_TURNS,
) -> InstructionJsonl:
    """Writes files to `data_dir/instruction_jsonl`, or finds that they are written there already.

    Args:
        paths: a file, or several joined by commas, for the split `train`; or such a text for each split.
        data_dir: where TFDS data sets live.
        fields: what the fields of a record are called in the files.
        on_bad_example: `stop` or `skip`.
        turns: what becomes of turns that are not as most are.

    Returns:
        The builder, whose `info` counts the examples and whose `sources` hold what was skipped.

    Raises:
        DataError: a file or record is malformed, or the directory holds other conversations.
    """
    by_split = {"train": paths} if isinstance(paths, str) else paths
    sources = {
        split: JsonlSource(located(path, "path", (split,)), fields, on_bad_example, turns, "path")
        for split, path in by_split.items()
    }
    builder = InstructionJsonl(sources=sources, data_dir=os.fspath(data_dir))
    with contextlib.redirect_stdout(io.StringIO()):  # it speaks of downloads of unknown size
        builder.download_and_prepare()
    written = tfds.builder_from_directory(builder.data_path).info.metadata["fingerprint"]
    if written != builder.fingerprint:
        raise DataError(
            f"{builder.data_path}: holds other conversations than these files;"
            " choose another data_dir, or delete that directory to write it anew"
        )
    return builder


def _fingerprint(sources: Mapping[str, JsonlSource]) -> str:
    """Equal for equal ids and messages in equal splits."""
    digest = hashlib.sha256()
    for split, source in sources.items():
        for i in range(len(source)):
            conversation = source[i]
            known = (split, conversation.id, conversation.messages, conversation.tools)
            digest.update(repr(known).encode())
    return digest.hexdigest()
