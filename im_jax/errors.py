"""Errors that are the user's to mend: a command shows them as one line and exits with their code."""

from typing import ClassVar


class UserError(Exception):
    """Something the user gave is wrong. The message names what, where, and what to do instead.

    Where it is about several things, each of them is a detail: a line of its own below the message.
    """

    exit_code: ClassVar[int] = 2
    """2: the same command would fail again; 1: it may go on once what stopped it is gone."""

    def __init__(self, message: str, *details: str) -> None:
        super().__init__(message, *details)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {'; '.join(self.details)}" if self.details else self.message


class ConfigError(UserError):
    """A configuration field, a flag, or a combination of them cannot work."""


class DataError(UserError):
    """A data file, an example, a template or a tokenizer cannot be used as it is."""


class TrainingError(UserError):
    """Training cannot go on: its numbers are no longer numbers."""


class CheckpointError(UserError):
    """A checkpoint or model file cannot be read, or does not fit the run."""


class StorageError(UserError):
    """What a command writes cannot be written: the disk is full, or the directory is gone."""

    exit_code: ClassVar[int] = 1


class AbandonedError(StorageError):
    """A save could not be written, and threads of it are left that the end of Python would wait for."""


class ProcessError(UserError):
    """A process that works for this one ended before its work did, as when memory runs out."""

    exit_code: ClassVar[int] = 1


class ClusterError(UserError):
    """Not all processes of a run came together."""

    exit_code: ClassVar[int] = 1


class Interrupted(Exception):
    """A run was asked to stop, and has saved: the same command goes on from there. No error, but an end."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
