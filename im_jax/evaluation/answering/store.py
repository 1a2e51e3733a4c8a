"""Answers kept as they come, so that a run that is stopped goes on where it stood."""

import fcntl
import json
import pathlib
import types
from collections.abc import Mapping
from typing import Any, Final, Self

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.answering.asked import Answered, Answers
from im_jax.files import writing

_FORMAT: Final = 1


class Store:
    """A file of answers of one model, asked in one way: a head, then a line an answer.

    A line that a kill has cut off is dropped.
    """

    def __init__(self, path: pathlib.Path, identity: Mapping[str, Any], *, writes: bool = True) -> None:
        """Args: path: of the file. identity: all that decides the answers, as JSON has it. writes: whether
        this process is the one that adds to the file; the others only read it.
        """
        self.path, self.answers = path, Answers()
        self._head = {"format": _FORMAT, "identity": json.loads(json.dumps(identity))}
        self._writes = writes

    def __enter__(self) -> Self:
        """Raises: UserError: the file is of another model, or asked in another way, or is damaged."""
        whole = self._load()
        if self._writes:
            with writing(self.path):
                self._file = self.path.open("ab")
            self._lock()
            with writing(self.path):
                self._file.truncate(whole)
            if not whole:
                self._write(self._head)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | types.TracebackType | None) -> None:
        if self._writes:
            self._file.close()

    def add(self, answered: Answered) -> bool:
        """Keep an answer; False if it is there already."""
        place = (answered.id, answered.sample)
        if place in self.answers:
            return False
        self.answers[place] = answered
        if self._writes:
            self._write(answered._asdict())
        return True

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ConfigError(f"{self.path}: another process adds to it; wait for it") from None
        except OSError:
            return  # the file system knows no locks

    def _write(self, record: Mapping[str, Any]) -> None:
        with writing(self.path):
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()

    def _load(self) -> int:
        """Read what is there; how many bytes of it are whole."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return 0
        whole = 0
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                if number > 1:
                    answered = Answered(**record)
                    self.answers[answered.id, answered.sample] = answered
            except (ValueError, TypeError):
                raise DataError(
                    f"{self.path}:{number}: is no line of answers; remove it to begin anew"
                ) from None
            if number == 1:
                self._check(record)
            whole += len(line)
        return whole

    def _check(self, head: Any) -> None:
        before = head.get("identity", {}) if isinstance(head, dict) and head.get("format") == _FORMAT else {}
        now = self._head["identity"]
        for name in now | before:
            if now.get(name) != before.get(name):
                raise ConfigError(
                    f"{self.path} holds answers with {name}={before.get(name)}, and this is {name}="
                    f"{now.get(name)}; name another --output, or remove that file to begin anew"
                )
