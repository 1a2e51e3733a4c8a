"""Messages between two processes: each is a line of JSON over a socket."""

import contextlib
import json
import socket
import threading
from typing import Any, Final

_LONGEST: Final = 1 << 20
"""Bytes of a line; what sends more is no process of ours."""

Message = dict[str, Any]


class Nonsense(Exception):
    """What came is not a message."""


class Lines:
    """One end of a connection. `send` may be called in any thread, `receive` in one."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._buffer, self._lock = connection, b"", threading.Lock()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Message) -> None:
        """Raises OSError if the other end is gone."""
        with self._lock:
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None) -> Message | None:
        """The next message; None: the other end is gone.

        Raises:
            TimeoutError: nothing came for so many seconds.
            Nonsense: what came is not a message.
        """
        while b"\n" not in self._buffer:
            self._socket.settimeout(timeout)
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not more:
                return None
            self._buffer += more
            if len(self._buffer) > _LONGEST:
                raise Nonsense("a line without an end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise Nonsense(str(error)) from error
        if not isinstance(message, dict):
            raise Nonsense("not an object")
        return message

    @property
    def ended(self) -> bool:
        """Whether the other end is gone, of a connection on which nothing is to be received now."""
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()
