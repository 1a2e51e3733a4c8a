"""What Orbax and TensorStore say of a save that failed, told once and in one line."""

import contextlib
import logging
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from im_jax.errors import StorageError

_LOGS: Final = (logging.getLogger("absl"), logging.getLogger("asyncio"))
"""Where Orbax, and the tasks that it leaves behind, write what they also raise."""


@contextlib.contextmanager
def told_in_one_line(path: pathlib.Path) -> Iterator[None]:
    """Turn the many exceptions of Orbax and TensorStore into one line."""
    try:
        yield
    except TimeoutError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        system = re.search(r"[^:]+(?= \[os_error_code)", reason)  # TensorStore quotes the system's words
        told = system[0].strip() if system else f"{type(error).__name__}: {reason[:200]}"
        if isinstance(error, OSError) and error.strerror:
            told = error.strerror
        raise StorageError(f"{path} could not be saved: {told}") from error


def quiet_threads() -> Callable[[], None]:
    """Let threads of Orbax and TensorStore not print how a save failed: it is raised, and told in one line.

    Returns:
        What undoes it. Not for use after a failure: TensorStore's threads go on as long as the process lives.
    """
    outer = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # TensorStore names no object, as nobody else does: writes that end when nobody waits any more.
        if unraisable.object is not None or unraisable.err_msg is not None:
            outer(unraisable)

    def undo() -> None:
        sys.unraisablehook = outer
        for log in _LOGS:
            log.removeFilter(_not_of_a_failed_save)

    sys.unraisablehook = hook
    for log in _LOGS:
        log.addFilter(_not_of_a_failed_save)
    return undo


def _not_of_a_failed_save(record: logging.LogRecord) -> bool:
    """Whether a log record is no traceback of Orbax or of a task of its."""
    return not (record.exc_info and ("orbax" in record.pathname or record.name == "asyncio"))
