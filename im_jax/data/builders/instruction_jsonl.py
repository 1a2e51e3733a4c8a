"""JSON Lines files of conversations as a TFDS data set in ArrayRecord files, without TensorFlow.

    python -m im_jax.data.builders.instruction_jsonl --path=train.jsonl.gz --data_dir=/data

Flags are called as the fields of `config.data`: `--on_bad_example=skip`, `--fields.prompt=question`.
A set too large for memory, or read by many processes, is prepared once and then opened at once by
index. The order is that of the files, so training on either gives the same run.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import tensorflow_datasets as tfds

from im_jax.config import CHOICES, FieldNames, flatten
from im_jax.console import print_text
from im_jax.data.conversation import DEFAULT_FIELDS
from im_jax.data.jsonl import JsonlSource, split_paths
from im_jax.errors import DataError, UserError
from im_jax.text import in_one_line

NAME: Final = "instruction_jsonl"


class InstructionJsonl(tfds.core.GeneratorBasedBuilder):
    """The conversations of JSON Lines files; `prepare` makes and writes one."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, sources: Mapping[str, JsonlSource] = MappingProxyType({}), **kwargs: Any):
        """`sources`: what each split is written from; a set that is written already needs none."""
        self.sources = sources
        self.fingerprint = _fingerprint(sources)
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        message = {"role": text, "content": text, "weight": tfds.features.Scalar(np.float32), "input": text}
        return tfds.core.DatasetInfo(
            builder=self,
            description="Conversations read from JSON Lines files by im_jax.",
            features=tfds.features.FeaturesDict({"id": text, "messages": tfds.features.Sequence(message)}),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(fingerprint=self.fingerprint),
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        if not self.sources:
            raise DataError(f"{NAME}: is not prepared in {self.data_path.parent.parent}; use `prepare`")
        return {split: self._generate_examples(source) for split, source in self.sources.items()}

    def _generate_examples(self, source: JsonlSource) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(len(source)):
            conversation = source[i]
            yield i, {"id": conversation.id, "messages": [vars(message) for message in conversation.messages]}


def prepare(
    paths: str | Mapping[str, str],
    data_dir: str | os.PathLike[str],
    fields: FieldNames = DEFAULT_FIELDS,
    on_bad_example: str = "stop",
) -> InstructionJsonl:
    """Writes files to `data_dir/instruction_jsonl`, or finds that they are written there already.

    Args:
        paths: a file, or several joined by commas, for the split `train`; or such a text for each split.
        data_dir: where TFDS data sets live.
        fields: what the fields of a record are called in the files.
        on_bad_example: `stop` or `skip`.

    Returns:
        The builder, whose `info` counts the examples and whose `sources` hold what was skipped.

    Raises:
        DataError: a file or record is malformed, or the directory holds other conversations.
    """
    by_split = {"train": paths} if isinstance(paths, str) else paths
    sources = {
        split: JsonlSource(split_paths(path), fields, on_bad_example) for split, path in by_split.items()
    }
    builder = InstructionJsonl(sources=sources, data_dir=os.fspath(data_dir))
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
            digest.update(repr((split, source[i].id, source[i].messages)).encode())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Writes the data set and says how to train on it; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--path", required=True, help="files of the split `train`, joined by commas")
    parser.add_argument("--data_dir", required=True, help="directory of TFDS data sets to write to")
    parser.add_argument("--split", action="append", default=[], metavar="NAME=FILE", help="one more split")
    parser.add_argument("--on_bad_example", default="stop", choices=CHOICES["data.on_bad_example"])
    for field, name in flatten(DEFAULT_FIELDS).items():
        parser.add_argument(f"--fields.{field}", default=name, metavar="NAME", help=f"name of `{field}`")
    flags = vars(parser.parse_args(arguments))
    fields = FieldNames(**{field: flags[f"fields.{field}"] for field in flatten(DEFAULT_FIELDS)})
    paths = {"train": flags["path"]}
    for split in flags["split"]:
        name, equals, path = split.partition("=")
        if not (name.isidentifier() and equals and path) or name in (*paths, "all"):
            parser.error(f"--split {split}: must be a new NAME=FILE, where NAME is neither train nor all")
        paths[name] = path
    try:
        builder = prepare(paths, flags["data_dir"], fields, flags["on_bad_example"])
    except UserError as error:
        print_text(f"error: {in_one_line(error)}".replace("--config.data.", "--"), sys.stderr)
        return 2
    for name, source in builder.sources.items():
        print_text(f"{name}: {len(source)} examples, {len(source.skipped)} skipped")
        for message in source.skipped:
            print_text(f"  skipped {in_one_line(message)}")
    print_text(f"Written to {builder.data_path}. Train on it with:")
    print_text(
        f"  --config.data.source=tfds --config.data.name={NAME} --config.data.path={flags['data_dir']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
