"""SIGTERM at one process of a cluster: all save and stop at one place, or leave at once if nothing is lost.

JAX takes SIGTERM for itself once the cluster is joined, and tells all processes of it. At which place they
stop it says where all of them ask, at the same places in the same order. That takes steps: while data is
read or the first step compiled, which may take longer than the notice, nobody asks. So a thread looks, and
as there is nothing to save yet, all leave; likewise once everything is saved.
"""

import contextlib
import enum
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import jax
from jax.experimental import multihost_utils

from im_jax.cluster.peers import Peers
from im_jax.interruption import PREEMPTED, leave

_NOTICE: Final = "RECEIVED_PREEMPTION_NOTICE"
"""Where JAX keeps the notice for all processes (XLA, preemption_sync_manager.cc)."""
_COURSE: Final = "im_jax/course"
"""Where it stands, once for all, whether steps began before a notice came, or all leave."""
_SAVED: Final = "im_jax/saved"
_LOOK_SECONDS: Final = 1.0
_ANSWER_MS: Final = 10_000


class _Phase(enum.Enum):
    BEFORE = "before the first step"
    STEPS = "steps"
    SAVED = "everything is saved"


class Preemption:
    """Whether the cluster of this process is about to be ended; never where it is in none."""

    def __init__(
        self,
        others: Peers | None = None,
        last_words: Callable[[int, str], None] = lambda code, why: None,
        leave: Callable[[str, int], object] = leave,
    ) -> None:
        """Args: the other processes, who is told the exit code and the reason before this process leaves at
        once, and what ends it."""
        self._client = _client()
        self._others, self._last_words, self._leave_now = others, last_words, leave
        self._phase, self._places, self._leaving = _Phase.BEFORE, 0, threading.Lock()

    def watch(self) -> None:
        """Leave at once, in a thread of its own, on a notice that comes where nothing can be lost by it."""
        if self._client is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    def reached(self) -> bool:
        """Whether all processes stop here. Ask at the same places on all of them: it is so at one."""
        if self._client is None:
            return False
        self._places += 1  # not the step: a notice before the first place is for the place of number 1
        return multihost_utils.reached_preemption_sync_point(self._places)

    def first_step(self) -> None:
        """From now on there is something to save. Call it once the first step is under way, on all."""
        if self._client is not None and self._phase is _Phase.BEFORE:
            if self._decided("steps") != "steps":
                self._leave(_Phase.BEFORE)
            self._phase = _Phase.STEPS

    def saved(self) -> None:
        """From now on there is nothing to save any more. Call it once all is written, on all."""
        if self._client is not None:
            if jax.process_index() == 0:  # it writes last
                with contextlib.suppress(RuntimeError):  # it stands there already
                    self._client.key_value_set(_SAVED, "yes")
            self._phase = _Phase.SAVED

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            phase = self._phase
            if phase is _Phase.STEPS or not self._has(_NOTICE):
                continue
            leaves = self._has(_SAVED) if phase is _Phase.SAVED else self._decided("leave") == "leave"
            if leaves:
                self._leave(phase)

    def _leave(self, phase: _Phase) -> None:
        with self._leaving:
            why = "preempted: stopped before the first step; nothing was lost"
            if phase is _Phase.SAVED:
                why = "preempted: training is over and saved; the same command measures what is left"
            words = threading.Thread(target=self._last_words, args=(PREEMPTED, why), daemon=True)
            words.start()
            words.join(2.0)
            if self._others is not None:
                self._others.goodbye(PREEMPTED, why, waits=True)
            self._leave_now(why, PREEMPTED)

    def _decided(self, wanted: str) -> str:
        """What was wanted first by any process."""
        with contextlib.suppress(RuntimeError):  # another one was faster
            self._client.key_value_set(_COURSE, wanted)
        try:
            return str(self._client.blocking_key_value_get(_COURSE, _ANSWER_MS))
        except RuntimeError:  # the first process is gone, which ends this one
            return "steps"

    def _has(self, key: str) -> bool:
        try:
            return bool(self._client.key_value_try_get(key))
        except RuntimeError:  # there is none, or nobody to ask
            return False


def _client() -> Any:
    """What asks the coordinator of JAX's cluster; None without one."""
    if not jax.distributed.is_initialized():
        return None
    from jax._src import distributed  # there is no public name

    return distributed.global_state.client
