"""Whether a run is to save and stop: by a signal at this process, or because its cluster is preempted."""

from im_jax.cluster.preemption import Preemption
from im_jax.errors import Interrupted
from im_jax.evaluation.protocol import StoppedEarlyError
from im_jax.interruption import PREEMPTED, Interruption


class Stopping:
    """Asked at the same places on all processes, in the same order."""

    def __init__(self, interruption: Interruption, preemption: Preemption) -> None:
        self._interruption, self._preemption = interruption, preemption
        self._is_asked = self._may_stop = False

    def asked(self) -> bool:
        """Whether to save and stop here; once it is so, it stays so."""
        self._is_asked = self._is_asked or self._interruption.asked or self._preemption.reached()
        return self._is_asked

    def pause(self) -> None:
        """Ask in the middle of something that can be done again.

        Raises:
            StoppedEarlyError: save and stop.
        """
        if self._may_stop and self.asked():
            raise StoppedEarlyError

    def first_step(self) -> None:
        """A step is under way: from now on there is something to save."""
        self._interruption.ask_first()
        self._preemption.first_step()
        self._may_stop = True

    def saved(self) -> None:
        """Training is over and saved: from now on who is asked to stop leaves at once."""
        self._may_stop = False
        self._interruption.leave_at_once("training is over and saved; the same command measures what is left")
        self._preemption.saved()

    def end(self, message: str) -> Interrupted:
        """The exception with which a run ends that was asked to, and has saved."""
        if self._interruption.asked:
            return self._interruption.stop(message)
        return Interrupted(f"preempted: {message}", PREEMPTED)
