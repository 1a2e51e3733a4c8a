"""Messages between this process and those that encode: pickles over pipes, each behind its length."""

import pickle
import struct
from typing import IO, Any, Final

_LENGTH: Final = struct.Struct("<Q")


def send(message: object, pipe: IO[bytes]) -> None:
    """Write a message. Raises `OSError` where nobody reads any more."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message. Raises `EOFError` where there is none, or it is cut off."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    return content
