"""The file of answers: appended to as answers finish, gone on with after a stop, and in the end sorted.

The first line says what the answers are of: model, template, parameters. Each further line is an answer, with
a fingerprint of its request. A stopped run goes on behind the last whole line; a run of another model, or
another prompt under the same id, is refused. Once all are there, the file is written again, in the order of
the prompts, whole or not at all: it is then the same however often the run was stopped.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, Final

from im_jax.appended import Appended
from im_jax.errors import DataError
from im_jax.files import write_whole
from im_jax.generation.prompts import Refused
from im_jax.generation.requests import Completion, Request

FORM: Final = "im_jax answers 1"
"""What the first line begins with."""
Key = tuple[str, int]
"""Id and number of an answer."""


def fingerprint(request: Request | Refused) -> str:
    """Of all that decides an answer beside the model."""
    if isinstance(request, Refused):
        told: Any = list(request)
    else:
        told = [request.id, request.tokens.tolist(), dataclasses.asdict(request.params), request.continues]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def keys_of(requests: Sequence[Request | Refused]) -> list[Key]:
    """The answers to some requests, in order."""
    return [
        (each.id, sample)
        for each in requests
        for sample in range(1 if isinstance(each, Refused) else each.params.n)
    ]


class AnswersFile:
    """A file of answers that is being written; for the process that writes."""

    def __init__(
        self, path: pathlib.Path, header: dict[str, Any], requests: Sequence[Request | Refused]
    ) -> None:
        """Reads what is there.

        Raises:
            DataError: the file is of something else, is damaged, or another process writes it.
            StorageError: it cannot be written.
        """
        self._path, self._header = path, json.dumps({"form": FORM, **header}, ensure_ascii=False)
        self._keys = dict.fromkeys(keys_of(requests))
        self._fingerprints = {each.id: fingerprint(each) for each in requests}
        self._lines: dict[Key, str] = {}
        try:
            self._file = Appended(path)
        except BlockingIOError:
            raise DataError(
                f"--output={path}: another process writes it; wait for it, or name another file"
            ) from None
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    @property
    def done(self) -> set[Key]:
        """Answers that are there."""
        return set(self._lines)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All answers and errors, in the order of the prompts."""
        return [json.loads(self._lines[key]) for key in self._keys if key in self._lines]

    def refuse(self, refused: Refused) -> None:
        """Write down why a prompt has no answer."""
        self._append((refused.id, 0), {"id": refused.id, "error": refused.reason})

    def add(self, completion: Completion) -> None:
        """Write down an answer."""
        fields = completion._asdict()
        if completion.logprobs is None:
            del fields["logprobs"]
        else:
            fields["logprobs"] = [[list(pair) for pair in token.items()] for token in completion.logprobs]
        self._append((completion.id, completion.sample), fields)

    def finish(self) -> None:
        """Write all answers again, in the order of the prompts.

        Raises:
            StorageError: it cannot be written; what was there stays.
        """
        lines = [self._header, *(self._lines[key] for key in self._keys)]
        write_whole(self._path, "".join(f"{line}\n" for line in lines))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _append(self, key: Key, fields: dict[str, Any]) -> None:
        line = json.dumps(fields | {"request": self._fingerprints[key[0]]}, ensure_ascii=False)
        self._file.add(line)
        self._lines[key] = line

    def _read(self) -> None:
        try:
            lines = [line.decode("utf-8") for line in self._file.lines]
        except UnicodeDecodeError as error:
            raise DataError(f"{self._path}: is not UTF-8: {error}; name another --output") from None
        if lines:
            self._check_header(lines[0])
        elif not self._header.encode().startswith(self._file.torn):
            raise DataError(f"{self._path}: is no file of answers; name another --output")
        for number, line in enumerate(lines[1:], start=2):
            self._lines[self._key_of(line, number)] = line
        self._file.begin()
        if not lines:
            self._file.add(self._header)

    def _key_of(self, line: str, number: int) -> Key:
        """Which answer a line holds, if it is one that is asked for."""
        fields = _object(line, self._path, number)
        key = (fields.get("id"), fields.get("sample", 0))
        if key not in self._keys:
            raise DataError(
                f"{self._path}:{number}: answers {key[0]!r}, which the prompts lack; name another --output"
            )
        if fields.get("request") != self._fingerprints[key[0]]:
            raise DataError(
                f"{self._path}:{number}: answers {key[0]!r} as it was asked before, with another prompt or "
                "other parameters; name another --output, or remove the line"
            )
        return key

    def _check_header(self, line: str) -> None:
        found, wanted = _object(line, self._path, 1), json.loads(self._header)
        if found.get("form") != FORM:
            raise DataError(f"{self._path}: is no file of answers; name another --output")
        for name in dict.fromkeys([*wanted, *found]):
            if found.get(name) != wanted.get(name):
                raise DataError(
                    f"{self._path}: holds answers with another {name} ({found.get(name)}, now "
                    f"{wanted.get(name)}); ask as before, or name another --output"
                )


def _object(line: str, path: pathlib.Path, number: int) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        fields = json.loads(line)
        if isinstance(fields, dict):
            return fields
    raise DataError(
        f"{path}:{number}: is no line of a file of answers; name another --output, or remove the line"
    )
