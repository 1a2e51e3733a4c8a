"""Where conversations come from: one interface, and the choice that `data.source` makes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, SupportsIndex, runtime_checkable

from im_jax.config import DataConfig
from im_jax.data.files import File, has_folder, located
from im_jax.data.generated import GeneratedSource
from im_jax.data.jsonl import CheckedRecords, JsonlSource
from im_jax.data.records.conversation import Conversation
from im_jax.errors import ConfigError

if TYPE_CHECKING:  # importing TFDS takes about a second
    from im_jax.data.tfds_source import TfdsSplit

READ_HERE: Final = ("generated", "jsonl", "tfds")
"""Values of `data.source` that are read here; the others are of studies."""


@runtime_checkable
class Source(Protocol):
    """Conversations by index: same index, same conversation, in any order and any process."""

    @property
    def skipped(self) -> Sequence[str]:
        """One message for each malformed record; it has no index."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """Number of records that `data.turns` left out, by reason; they have none either."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex) -> Conversation: ...


def make_source(data: DataConfig) -> Source:
    """The source that the configuration asks for, all of its records checked.

    Sources of studies are made by the studies: see `im_jax.studies.registry`.

    Raises:
        ConfigError: fields of `data` that are missing for this source, or that it would ignore.
        DataError: the data itself cannot be used.
    """
    if data.source == "generated":
        refuse_files(data)
        if data.num_generated < 1:
            raise ConfigError(f"data.num_generated is {data.num_generated}; set it to 1 or more")
        return GeneratedSource(data.num_generated, data.seed)
    if data.source == "jsonl":
        return JsonlSource(jsonl_files(data), data.fields, data.on_bad_example, data.turns)
    if data.source != "tfds":
        raise ConfigError(f"data.source is {data.source!r}; set one of {', '.join(READ_HERE)}")
    split = tfds_split(data)
    return CheckedRecords(split.chunks(), split.place, data.fields, data.on_bad_example, data.turns)


def tfds_split(data: DataConfig) -> "TfdsSplit":
    """What the source `tfds` reads.

    Raises:
        ConfigError: a field is missing.
        DataError: there is no such data set or split.
    """
    if not data.name:
        raise ConfigError("data.source is tfds but data.name is empty; set --config.data.name=NAME")
    from im_jax.data.tfds_source import TfdsSplit  # here, since importing TFDS takes about a second

    return TfdsSplit(data.name, data.path, data.split)


def jsonl_files(data: DataConfig, field: str = "data.path") -> list[File]:
    """The files of the source `jsonl`, which `field` of the configuration names.

    Raises:
        ConfigError: fields are missing, or would be ignored.
        DataError: `data.path` names no files.
    """
    _refuse(data, "name", "set --config.data.source=tfds, or leave data.name empty")
    if not data.path.strip(" ,"):
        raise ConfigError("data.source is jsonl but data.path is empty; set --config.data.path=FILE")
    if not has_folder(data.path):
        _refuse(data, "split", "only folders and TFDS data sets have splits; name its files in data.path")
    return located(data.path, field, (data.split,))


def heldout_files(path: str, data: DataConfig) -> list[File]:
    """The files of `eval.path`: of a folder, the split that goes with `data.split`.

    Raises:
        DataError: it names no files.
    """
    before, _, after = data.split.partition("train")
    names = ("validation", "test", "dev", "valid", "eval")
    return located(path, "eval.path", tuple(f"{before}{name}{after}" for name in names))


def refuse_files(data: DataConfig) -> None:
    """Stop if a source that makes its examples is told of files, which it would ignore."""
    _refuse(data, "path", "set --config.data.source=jsonl (or tfds) to read it")
    _refuse(data, "name", "set --config.data.source=tfds to read it")
    _refuse(data, "split", "only a TFDS data set has splits")


def _refuse(data: DataConfig, field: str, advice: str) -> None:
    """Refuses a field that the user set but the source does not read: silently ignored, it misleads."""
    value = getattr(data, field)
    if value != getattr(DataConfig(), field):
        raise ConfigError(f"data.{field} is {value!r} but data.source is {data.source}; {advice}")
