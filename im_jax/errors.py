"""Errors that are the user's to mend: a command shows them as one line and exits with code 2."""


class UserError(Exception):
    """Something the user gave is wrong. The message names what, where, and what to do instead."""


class ConfigError(UserError):
    """A configuration field, a flag, or a combination of them cannot work."""


class DataError(UserError):
    """A data file, an example, a template or a tokenizer cannot be used as it is."""


class TrainingError(UserError):
    """Training cannot go on: its numbers are no longer numbers."""


class CheckpointError(UserError):
    """A checkpoint or model file cannot be read, or does not fit the run."""
