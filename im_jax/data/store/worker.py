"""A process that encodes chunks: `python -m im_jax.data.store.worker`, started by `processes`.

It is told a `Job`, then chunks, and answers each with an `EncodedChunk`, or with the error that it met. It
imports no JAX, and never outlives the process that asks.
"""

import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import IO, Any, Final, Never

from im_jax.data.store.frames import receive, send
from im_jax.errors import UserError

_LOOK_SECONDS: Final = 1.0


class Failed(Exception):
    """What a worker answers where it failed in a way that is not the user's to mend: the traceback."""


def main() -> Never:
    """Answer until there are no more requests, then stop at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the process that asks decides
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever anything prints
    requests: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    job = requests.get()
    encode = None
    while True:
        chunk = requests.get()
        try:
            if encode is None:
                encode = job.encoder().encode
            answer: object = encode(chunk)
        except UserError as error:
            answer = error
        except Exception:  # answered, since nobody reads this process's own words
            answer = Failed(traceback.format_exc())
        try:
            send(answer, answers)
        except OSError:
            os._exit(0)


def _listen(pipe: IO[bytes], requests: "queue.Queue[Any]") -> None:
    try:
        while True:
            requests.put(receive(pipe))
    except EOFError:
        os._exit(0)  # threads of libraries would wait for work
    except BaseException:  # a request that this process cannot read: whoever asks sees it end, and its words
        traceback.print_exc()
        os._exit(1)


def _watch(parent: int) -> None:
    """Stop when the process that asks is gone, even if one that it forked holds the pipe open."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    from im_jax.data.store import worker

    worker.main()  # of the module as others import it, so that its classes are the same in every process
