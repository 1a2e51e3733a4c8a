"""Ctrl-C, SIGTERM and SIGHUP: the first asks a run to save and stop, a second leaves at once.

Python's own answer, an exception in the main thread, is wrong here. XLA compiles in a thread of its own,
which goes on, and touches what the ending interpreter has freed: a segmentation fault. And the main thread
may be in a library for minutes. So a thread of this module reads the signals, and leaves without tearing
anything down.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from typing import Final

from im_jax.errors import Interrupted

CONTROL_C: Final = frozenset({signal.SIGINT})
ALL: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

PREEMPTED: Final = 42
"""Exit code of what was ended from outside and has saved, for who starts it again."""

STOPPED: Final = 130
"""Exit code of what was ended by Ctrl-C, as shells have it."""

_LAST_WORDS_SECONDS: Final = 2.0
"""A disk that hangs must not keep a process from leaving."""
_SHOW_CURSOR: Final = "\x1b[?25h"


class Interruption(contextlib.AbstractContextManager["Interruption"]):
    """Signals as a question that a loop asks. Enter it in the main thread.

    Until `ask_first` is called, there is nothing to save, and the first signal leaves at once. Not entered,
    it is a question that is always answered with no.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        signals: Collection[signal.Signals] = ALL,
        *,
        may_save: bool = True,
    ) -> None:
        """`say` shows a line to the user. A signal that is ignored (`nohup`) stays ignored.

        Without `may_save`, the first signal always leaves: one process of several cannot save alone.
        """
        self._say, self._may_save = say, may_save
        self._signals = [s for s in signals if signal.getsignal(s) is not signal.SIG_IGN]
        self._asks_first = False
        self._nothing_to_save = "stopped before the first step; nothing was lost"
        self._asked: signal.Signals | None = None
        self.last_words: Callable[[int, str], None] = lambda code, message: None
        """Told the exit code and why, before this process leaves at once."""

    def __enter__(self) -> "Interruption":
        read, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        threading.Thread(target=self._watch, args=(read,), daemon=True).start()
        self._outer_pipe = signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)
        # With a handler in Python, the C one writes the number to the pipe, whatever the main thread does.
        self._outer = {s: signal.signal(s, lambda *_: None) for s in self._signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._outer.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._outer_pipe)
        os.close(self._pipe)  # ends the thread

    @property
    def asked(self) -> bool:
        """Whether the run should save and stop."""
        return self._asked is not None

    def joined_cluster(self, *, may_save: bool) -> None:
        """This process is one of a cluster now: JAX has taken SIGTERM, and from now on takes Ctrl-C alone.

        `may_save` as at the beginning.
        """
        self._may_save = may_save
        for number in set(self._signals) - CONTROL_C:
            handler = self._outer.pop(number)
            if number is not signal.SIGTERM:  # to set another handler would take it from JAX
                signal.signal(number, handler)
        self._signals = [number for number in self._signals if number in CONTROL_C]

    def ask_first(self) -> None:
        """From now on there is something to save: the first signal is only noted in `asked`."""
        self._asks_first = self._may_save

    def leave_at_once(self, why: str) -> None:
        """Everything is saved: from now on the first signal leaves at once, and says why it may."""
        self._asks_first, self._nothing_to_save = False, why
        if self._asked is not None:  # it came just before
            self._take(self._asked)

    def stop(self, message: str) -> Interrupted:
        """The exception with which a run ends that was asked to, and has saved."""
        assert self._asked is not None
        return Interrupted(f"{_name(self._asked)}: {message}", _code(self._asked))

    def _watch(self, pipe: int) -> None:
        with open(pipe, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                with contextlib.suppress(ValueError):  # not one of ours: others may have handlers too
                    received = signal.Signals(number[0])
                    if received in self._signals:
                        self._take(received)

    def _take(self, received: signal.Signals) -> None:
        if not self._asks_first:
            self._leave(f"{_name(received)}: {self._nothing_to_save}", _code(received))
        elif self._asked is None:
            self._asked = received
            self._say(f"{_name(received)}: saving after this step, then stopping; once more leaves at once")
        else:
            self._leave(
                f"{_name(received)} again: left without saving; the same command goes on from the last "
                "checkpoint",
                128 + received,
            )

    def _leave(self, message: str, code: int) -> None:
        words = threading.Thread(target=self.last_words, args=(code, message), daemon=True)
        words.start()
        words.join(_LAST_WORDS_SECONDS)
        leave(message, code)


UNINTERRUPTED: Final = Interruption(lambda text: None, signals=())
"""For a run that nobody can ask: in a notebook, where Python's own way holds, or in a worker."""


def leave(message: str, code: int) -> None:
    """End this process now with a line: no exception, no teardown, in whatever thread this is called."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_terminal(stream)]
    # A progress bar hides the cursor, and the last line of it has no end yet.
    restore = f"{_SHOW_CURSOR}\n" if streams else ""
    text = restore + (f"{message}\n" if message else "")
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace"))
    os._exit(code)


def _is_terminal(stream: object) -> bool:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return bool(stream.isatty())  # type: ignore[attr-defined]
    return False


def _name(number: signal.Signals) -> str:
    return "Ctrl-C" if number is signal.SIGINT else number.name


def _code(number: signal.Signals) -> int:
    """Of Ctrl-C, or of what was ended from outside."""
    return STOPPED if number is signal.SIGINT else PREEMPTED
