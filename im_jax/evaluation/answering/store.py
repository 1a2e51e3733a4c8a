"""Answers kept as they come, so that a run that is stopped goes on where it stood."""

import json
import pathlib
import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from im_jax.appended import Appended, whole_lines
from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.answering.asked import Answered, Answers

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
        if not self._writes:
            self._read(whole_lines(self.path)[0])
            return self
        try:
            self._file = Appended(self.path)
        except BlockingIOError:
            raise ConfigError(f"{self.path}: another process adds to it; wait for it") from None
        try:
            self._read(self._file.lines)
            self._file.begin()
            if not self._file.lines:
                self._file.add(json.dumps(self._head))
        except BaseException:
            self._file.close()
            raise
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
            self._file.add(json.dumps(answered._asdict()))
        return True

    def _read(self, lines: Sequence[bytes]) -> None:
        for number, line in enumerate(lines, 1):
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

    def _check(self, head: Any) -> None:
        before = head.get("identity", {}) if isinstance(head, dict) and head.get("format") == _FORMAT else {}
        now = self._head["identity"]
        for name in now | before:
            if now.get(name) != before.get(name):
                raise ConfigError(
                    f"{self.path} holds answers with {name}={before.get(name)}, and this is {name}="
                    f"{now.get(name)}; name another --output, or remove that file to begin anew"
                )
