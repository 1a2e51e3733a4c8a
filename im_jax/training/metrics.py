"""Numbers of a run: JSON Lines, TensorBoard and, when asked for, Weights & Biases."""

import contextlib
import json
import math
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, runtime_checkable

import jax

from im_jax.appended import Continued
from im_jax.config import Config, LogConfig, flatten, to_json
from im_jax.evaluation.protocol import Entry
from im_jax.files import write_whole, writing
from im_jax.stores.places import is_remote
from im_jax.training.history import DAMAGED, History, read_history

_SHOWN: Final = 5
"""Numbers of damaged lines in a message."""


@runtime_checkable
class _Sink(Protocol):
    def write(self, entry: Entry) -> None: ...

    def close(self) -> None: ...


class MetricsWriter(contextlib.AbstractContextManager["MetricsWriter"]):
    """Writes the resolved configuration, and entries to every sink that it asks for.

    On processes other than the first, all of this does nothing.
    """

    def __init__(
        self, workdir: pathlib.Path, config: Config, *, from_step: int, say: Callable[[str], None]
    ) -> None:
        """`say` shows a line to the user: what of the numbers before `from_step` is not there.

        Raises:
            StorageError: something cannot be written.
        """
        self._sinks: list[_Sink] = []
        self._closing = contextlib.ExitStack()
        if jax.process_index() != 0:
            return
        self._add(_JsonLines(workdir / "metrics.jsonl", from_step, say))
        # Behind the numbers: what a run that lost its checkpoints asks both is then never of two runs.
        write_whole(workdir / "config.json", to_json(config))
        if config.log.tensorboard:
            self._add(_TensorBoard(workdir / "tensorboard"))
        if config.log.wandb_project:
            self._add(_WeightsAndBiases(workdir, config.log, flatten(config)))

    def _add(self, sink: "_Sink") -> None:
        self._sinks.append(sink)
        self._closing.callback(sink.close)

    def write(self, entry: Entry) -> None:
        """Add one entry, to all sinks, now.

        Raises:
            StorageError: it cannot be written.
        """
        for sink in self._sinks:
            sink.write(entry)

    def flush(self) -> None:
        """Write what sinks have kept back: what a checkpoint goes on from must be there before it is.

        Raises:
            StorageError: it cannot be written.
        """
        for sink in self._sinks:
            if isinstance(sink, _JsonLines):
                sink.flush()

    def __exit__(self, *_: object) -> None:
        self._closing.close()


class _JsonLines:
    """A file of one object a line, one line for a step and split.

    On resume, entries after the restored step are taken out again, and what is there already stays. Lines
    that are no entries are put aside.
    """

    def __init__(self, path: pathlib.Path, from_step: int, say: Callable[[str], None]) -> None:
        history = read_history(path)
        if history.damaged:
            _put_aside(history, path, say)
        kept = [(entry, line) for entry, line in history.lines if entry["step"] <= from_step]
        if from_step and not kept:
            say(f"{path} has no numbers of the steps up to {from_step}: it begins behind them")
        self._written = {(entry["step"], entry["split"]) for entry, _ in kept}
        write_whole(path, "".join(line.decode() + "\n" for _, line in kept))
        self._file = Continued(path, keeps=lambda line: True)

    def write(self, entry: Entry) -> None:
        if (entry["step"], entry["split"]) not in self._written:
            self._file.add(json.dumps(finite_or_none(entry), allow_nan=False))

    def flush(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def _put_aside(history: History, path: pathlib.Path, say: Callable[[str], None]) -> None:
    """Keep lines that are no entries in a file of their own, and say which they were."""
    aside = path.with_name(DAMAGED)
    lines = b"".join(line + b"\n" for _, line in history.damaged)
    if is_remote(aside):
        write_whole(aside, (aside.read_bytes() if aside.exists() else b"") + lines)
    else:
        with writing(aside), aside.open("ab") as file:
            file.write(lines)
    numbers = ", ".join(str(number) for number, _ in history.damaged[:_SHOWN])
    more = f" and {len(history.damaged) - _SHOWN} more" if len(history.damaged) > _SHOWN else ""
    say(f"{path}: no numbers can be read from line {numbers}{more}; what stood there is now in {aside}")


class _TensorBoard:
    def __init__(self, directory: pathlib.Path) -> None:
        from tensorboard.summary import Writer

        self._directory, self._local = directory, str(directory)
        self._folder = contextlib.ExitStack()
        if is_remote(directory):  # where nothing is added to: files are copied at the end
            self._local = self._folder.enter_context(tempfile.TemporaryDirectory())
        with writing(directory):
            self._writer = Writer(self._local)

    def write(self, entry: Entry) -> None:
        with writing(self._directory):
            for name, value in _numbers(entry).items():
                self._writer.add_scalar(f"{entry['split']}/{name}", value, step=entry["step"])

    def close(self) -> None:
        with self._folder, writing(self._directory):
            self._writer.close()
            if is_remote(self._directory):
                for file in pathlib.Path(self._local).iterdir():
                    (self._directory / file.name).write_bytes(file.read_bytes())


class _WeightsAndBiases:
    def __init__(self, workdir: pathlib.Path, log: LogConfig, config: Mapping[str, Any]) -> None:
        import wandb

        # The identity is kept with the run, so that a resumed run goes on in the same place.
        identity = workdir / "wandb_id.txt"
        if not identity.exists():
            write_whole(identity, uuid.uuid4().hex[:12])
        self._run = wandb.init(
            project=log.wandb_project,
            id=identity.read_text(encoding="utf-8"),
            dir=workdir,
            config=dict(config),
            resume="allow",
        )

    def write(self, entry: Entry) -> None:
        named = {f"{entry['split']}/{name}": value for name, value in _numbers(entry).items()}
        self._run.log(named, step=entry["step"])

    def close(self) -> None:
        self._run.finish()


def finite_or_none(value: Any) -> Any:
    """A JSON value with None for numbers that JSON has no name for."""
    if isinstance(value, dict):
        return {name: finite_or_none(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name not in ("step", "split")}
