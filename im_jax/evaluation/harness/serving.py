"""One process asks, all answer: requests of the first process reach the others, which compute with it.

lm-evaluation-harness runs in the first process alone, as if there were no other: in several it draws other
few-shot examples. The model is spread over all processes, so each must take part in every computation.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax
import numpy as np
from jax.experimental import multihost_utils

Answer = Callable[[Any], Any]
"""Computes what is asked, on all processes together; what is asked can be written as JSON."""
_END: Final = ""


class Service:
    """Answers by name, to be asked on the first process while the others `serve`."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    def ask(self, name: str, asked: Any) -> Any:
        """The answer, computed on all processes. On the first process only."""
        if jax.process_count() > 1:
            _send([name, asked])
        return self._answers[name](asked)

    def serve(self) -> None:
        """Take part in computing answers until the first process is done. On all other processes."""
        while True:
            name, asked = _receive()
            if name == _END:
                return
            self._answers[name](asked)

    def end(self) -> None:
        """Let the other processes go. On the first process, also after an error."""
        if jax.process_count() > 1:
            _send([_END, None])


def _send(message: Any) -> None:
    data = np.frombuffer(json.dumps(message).encode(), np.uint8)
    multihost_utils.broadcast_one_to_all(np.int32(len(data)))
    multihost_utils.broadcast_one_to_all(data)


def _receive() -> Any:
    size = int(multihost_utils.broadcast_one_to_all(np.int32(0)))
    return json.loads(bytes(multihost_utils.broadcast_one_to_all(np.zeros(size, np.uint8))))
