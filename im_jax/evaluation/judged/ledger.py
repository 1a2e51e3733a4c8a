"""Everything that was paid for, in a file: each answer at once, so that none is paid for twice.

A line is an answer, or a request that may have been billed without one. The file is only ever added to; a
line that a kill has cut off is dropped.
"""

import hashlib
import json
import pathlib
import threading
import types
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from im_jax.appended import Appended
from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged.endpoint import Completion
from im_jax.files import writing


class Spent(NamedTuple):
    """Tokens that were billed, or may have been."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: object) -> "Spent":
        assert isinstance(other, Spent)
        return Spent(self.prompt + other.prompt, self.completion + other.completion)


def key(url: str, body: Mapping[str, Any]) -> str:
    """What an answer is found by: the server and the whole request."""
    text = json.dumps([url, body], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Ledger:
    """The file, held by this process for as long as the context lasts."""

    def __init__(self, path: pathlib.Path) -> None:
        """Args: path: of the file; made if it is not there."""
        self.path = path
        self.answers: dict[str, Completion] = {}
        """By `key`."""
        self.billed = Spent()
        """As servers said; where one does not say, as much as it can have been."""
        self.unanswered = Spent()
        """For requests without an answer, at most."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Raises: ConfigError: another process adds to it. DataError: a line of it is none."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = Appended(self.path)
        except BlockingIOError:
            raise ConfigError(f"{self.path}: another process is judging with it; wait for it") from None
        try:
            self._read()
            self._file.begin()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | types.TracebackType | None) -> None:
        self._file.close()

    def answered(self, name: str, asked: str, completion: Completion, most: Spent) -> None:
        """Write an answer down. `asked`: the request's `key`; `most`: what it can have cost."""
        spent = most if completion.tokens is None else Spent(*completion.tokens)
        line = {"key": asked, "name": name, "model": completion.model, "choice": completion.choice}
        self._add(line | {"usage": completion.tokens, "billed": spent})

    def not_answered(self, name: str, asked: str, kind: str, most: Spent) -> None:
        """Write down that a request without an answer may have been billed."""
        self._add({"key": asked, "name": name, "unanswered": kind, "billed": most})

    def _add(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.add(json.dumps(line), durable=True)
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        spent = Spent(*line["billed"])
        if "unanswered" in line:
            self.unanswered += spent
            return
        usage = line["usage"]
        self.answers[line["key"]] = Completion(line["choice"], usage and tuple(usage), line["model"])
        self.billed += spent

    def _read(self) -> None:
        for number, text in enumerate(self._file.lines, 1):
            try:
                self._take(json.loads(text))
            except (ValueError, LookupError, TypeError):
                raise DataError(
                    f"{self.path}:{number}: is no line of answers; mend it, or name another file by --cache"
                ) from None
