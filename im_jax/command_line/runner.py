"""How every command ends: its exit code, and errors as lines that a user can act on.

    0    done
    1    failed: something that nobody foresaw, with a traceback; what could not be written; or what the
         command says
    2    a mistake that the user can mend: one line on standard error
    42   training was stopped from outside (SIGTERM, SIGHUP) and has saved: the same command goes on
    43   another process of the run ended, so that this one could not go on
    130  Ctrl-C; training has saved, if there was anything to save
    141  nobody reads standard output any more, as behind `| head`

Commands may have more, above 2.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from im_jax.cluster import peers
from im_jax.console import print_text
from im_jax.errors import AbandonedError, Interrupted, UserError
from im_jax.interruption import leave
from im_jax.text import in_one_line

FAILED: Final = 1
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141
"""As the shell reports a program that SIGPIPE has ended."""


def run(work: Callable[[], int | None]) -> NoReturn:
    """Do the work of a command and exit: with the code that it returns, 0 for None.

    The work includes its slow imports, so that Ctrl-C is quiet there too. Of several processes, one that ends
    by an error leaves at once, and tells the others: JAX's own end would wait for them.
    """
    told: list[UserError] = []
    try:
        code = exit_code(work, told.append)
        why = "".join(map(str, told))
    except Exception as error:
        if peers.current() is None:
            raise
        traceback.print_exc()
        code, why = FAILED, f"{type(error).__name__}: {error}"
    peers.end_with(code, why)
    if code == INTERRUPTED or any(isinstance(error, AbandonedError) for error in told):
        # XLA may be compiling in a thread, which the end of the interpreter would crash; threads of a save
        # that failed wait for each other for twenty minutes.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        leave("", code)
    sys.exit(code)


def exit_code(
    work: Callable[[], int | None], told: Callable[[UserError], object] = lambda error: None
) -> int:
    """The exit code of some work, with errors that are the user's to mend on standard error, and `told`."""
    try:
        code = work() or 0
        sys.stdout.flush()  # what is left in the buffer may meet a closed pipe too: now, not at exit
        return code
    except UserError as error:
        show(error)
        told(error)
        return error.exit_code
    except Interrupted as end:
        print_text(str(end), sys.stderr)
        return end.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return NOBODY_READS


def show(error: UserError) -> None:
    """Write an error on standard error: one line, and one more for each detail."""
    print_text(f"error: {in_one_line(error.message)}", sys.stderr)
    for detail in error.details:
        print_text(f"  {in_one_line(detail)}", sys.stderr)


def _forget_output() -> None:
    """Let Python's own flush at exit find a standard output that takes everything."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
