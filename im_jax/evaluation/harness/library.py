"""lm-evaluation-harness itself: an optional package, imported when needed, and made to keep to itself."""

import contextlib
import importlib
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from im_jax.errors import ConfigError

TESTED = "0.4.13"


def load() -> Any:
    """The package `lm_eval`.

    Raises:
        ConfigError: it is not installed.
    """
    # It forks for bootstraps, which JAX does not survive; standard errors are ours.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    os.environ.setdefault("LMEVAL_DISABLE_MULTIPROC", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    try:
        return importlib.import_module("lm_eval")
    except ImportError as error:
        raise ConfigError(
            f"benchmark tasks need lm-evaluation-harness ({error}); install it: pip install 'im_jax[eval]'"
        ) from None


def module(name: str) -> Any:
    """A module inside of it, such as `evaluator`. Raises as `load`."""
    load()
    return importlib.import_module(f"lm_eval.{name}")


def tasks_folder() -> pathlib.Path:
    """Where its own definitions of tasks are. Raises as `load`."""
    return pathlib.Path(load().__file__).parent / "tasks"


@contextlib.contextmanager
def logged_to(path: pathlib.Path | None) -> Iterator[None]:
    """Write what it and `datasets` log to a file, and not on the terminal; None: nowhere."""
    handler: logging.Handler = logging.NullHandler() if path is None else logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("lm_eval", "lm-eval", "datasets", "huggingface_hub")]
    before = [(each, each.handlers, each.propagate) for each in loggers]
    for each in loggers:
        each.handlers, each.propagate = [handler], False
    try:
        yield
    finally:
        for each, handlers, propagate in before:
            each.handlers, each.propagate = handlers, propagate
        handler.close()
