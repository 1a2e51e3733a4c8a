"""Numbers of a run: JSON Lines, TensorBoard and, when asked for, Weights & Biases."""

import contextlib
import json
import math
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import jax

from im_jax.config import Config, LogConfig, flatten, to_json
from im_jax.evaluation.protocol import Entry

Row = Entry


class _Sink(Protocol):
    def write(self, row: Row) -> None: ...

    def close(self) -> None: ...


class MetricsWriter(contextlib.AbstractContextManager["MetricsWriter"]):
    """Writes the resolved configuration, and rows to every sink that it asks for.

    On processes other than the first, all of this does nothing.
    """

    def __init__(self, workdir: pathlib.Path, config: Config, *, from_step: int) -> None:
        self._sinks: list[_Sink] = []
        if jax.process_index() != 0:
            return
        (workdir / "config.json").write_text(to_json(config), encoding="utf-8")
        self._sinks.append(_JsonLines(workdir / "metrics.jsonl", from_step))
        if config.log.tensorboard:
            self._sinks.append(_TensorBoard(workdir / "tensorboard"))
        if config.log.wandb_project:
            self._sinks.append(_WeightsAndBiases(workdir, config.log, flatten(config)))

    def write(self, row: Row) -> None:
        """Add one row, to all sinks, now."""
        for sink in self._sinks:
            sink.write(row)

    def __exit__(self, *_: object) -> None:
        for sink in self._sinks:
            sink.close()


class _JsonLines:
    """A file of one object a line, one line for a step and split.

    On resume, rows after the restored step are taken out again, and what is there already stays.
    """

    def __init__(self, path: pathlib.Path, from_step: int) -> None:
        kept = []
        self._written: set[tuple[int, str]] = set()
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):  # a line cut off when a run was killed
                    row = json.loads(line)
                    if row["step"] <= from_step:
                        kept.append(line + "\n")
                        self._written.add((row["step"], row["split"]))
        path.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def write(self, row: Row) -> None:
        if (row["step"], row["split"]) not in self._written:
            self._file.write(json.dumps(finite_or_none(row), allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class _TensorBoard:
    def __init__(self, directory: pathlib.Path) -> None:
        from tensorboard.summary import Writer

        self._writer = Writer(str(directory))

    def write(self, row: Row) -> None:
        for name, value in _numbers(row).items():
            self._writer.add_scalar(f"{row['split']}/{name}", value, step=row["step"])

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, workdir: pathlib.Path, log: LogConfig, config: Mapping[str, Any]) -> None:
        import wandb

        # The identity is kept with the run, so that a resumed run goes on in the same place.
        identity = workdir / "wandb_id.txt"
        if not identity.exists():
            identity.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        self._run = wandb.init(
            project=log.wandb_project,
            id=identity.read_text(encoding="utf-8"),
            dir=workdir,
            config=dict(config),
            resume="allow",
        )

    def write(self, row: Row) -> None:
        named = {f"{row['split']}/{name}": value for name, value in _numbers(row).items()}
        self._run.log(named, step=row["step"])

    def close(self) -> None:
        self._run.finish()


def finite_or_none(value: Any) -> Any:
    """A JSON value with None for numbers that JSON has no name for."""
    if isinstance(value, dict):
        return {name: finite_or_none(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("step", "split")}
