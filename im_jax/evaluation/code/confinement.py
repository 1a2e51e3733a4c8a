"""What the kernel refuses to a program that nobody trusts: a seccomp filter, for good, in all threads.

The program can compute, and read files. It cannot write, make, remove or rename any file, open a socket,
start a process, run another program, send a signal, lock a file, or reach into another process. Refused calls
fail with EPERM, which Python shows as `PermissionError`. Only Linux can do this, and it needs no privilege.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from typing import Final, NamedTuple

from im_jax.evaluation.code.system_calls import MACHINES, refused

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_NOT_THERE: Final = 0x00050000 | errno.ENOSYS

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`, in bytes; an argument has 8, its low half first."""
_FIRST_NEW_CALL: Final = 424
"""From here on numbers are those of all architectures: io_uring, mount_setattr, openat2, clone3. What a C
library uses of these it does without, if it is told that they are not there. So are calls of the x32 ABI."""

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_THREAD: Final = 0x00010000
"""CLONE_THREAD: a thread, and no process."""
_DESCRIPTOR_COMMANDS: Final = (0, 1, 2, 3, 4, 1030)
"""Of fcntl: duplicates and flags. Not: locks, and who gets signals."""
_TERMINAL_QUESTIONS: Final = (0x5401, 0x5450, 0x5451, 0x541B)
"""Of ioctl: TCGETS, FIONCLEX, FIOCLEX, FIONREAD."""
_SET_DEATH_SIGNAL, _SET_SECCOMP, _SET_NO_NEW_PRIVILEGES, _FILTER = 1, 22, 38, 2
_THREAD_NAMES: Final = (15, 16)
"""Of prctl."""
_MOST_FILES: Final = 256
"""Open at once."""


class _Machine(NamedTuple):
    """Numbers of the calls that are refused by what they ask for."""

    audit: int
    """The kernel's name of the architecture."""
    open: int | None
    openat: int
    clone: int
    prlimit: int
    fcntl: int
    ioctl: int
    prctl: int


_KNOWN: Final = {
    "x86_64": _Machine(0xC000003E, open=2, openat=257, clone=56, prlimit=302, fcntl=72, ioctl=16, prctl=157),
    "aarch64": _Machine(0xC00000B7, None, openat=56, clone=220, prlimit=261, fcntl=25, ioctl=29, prctl=167),
}


def unavailable() -> str:
    """Why programs cannot be confined on this machine, or nothing where they can."""
    if not sys.platform.startswith("linux"):
        return f"this is {platform.system()}, and only Linux can confine programs (seccomp)"
    if platform.machine() not in MACHINES or struct.calcsize("P") != 8 or sys.byteorder != "little":
        return f"system calls of {platform.machine()} are not known here, only of {' and '.join(MACHINES)}"
    # The filter itself is not given: EFAULT says that one would have been read.
    if _libc().prctl(_SET_SECCOMP, _FILTER, None, 0, 0) == 0 or ctypes.get_errno() not in (
        errno.EFAULT,
        errno.EACCES,
    ):
        return "this kernel has no seccomp filters"
    return ""


def confine(memory_bytes: int, seconds: int) -> None:
    """Confine this process, for good. It must have one thread.

    Args:
        memory_bytes: of its address space.
        seconds: of processor time, after which the kernel ends it.

    Raises:
        OSError: the kernel did not do it.
    """
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
    ):
        hard = resource.getrlimit(what)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    program = filter_program(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = _libc()
    for arguments in (
        (_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),  # it goes with the process that has started it
        (_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SET_SECCOMP, _FILTER, described, 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), f"prctl({arguments[0]}) failed")


def filter_program(machine: str) -> bytes:
    """The filter for one of `MACHINES`, in the kernel's bytes: 8 an instruction (classic BPF)."""
    known = _KNOWN[machine]
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, known.audit, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _FIRST_NEW_CALL, 0, 1),
        _instruction(_RETURN, _NOT_THERE),
    ]
    for number in refused(machine).values():
        code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _REFUSE)]
    for call, argument in ((known.open, 1), (known.openat, 2)):
        if call is not None:
            code += _when(call, argument, [_instruction(_ANY_BIT, _WRITES, 1, 0)])
    code += _when(known.clone, 0, [_instruction(_ANY_BIT, _THREAD, 0, 1)])
    code += _when(known.prlimit, 0, _only((0,)))
    code += _when(known.fcntl, 1, _only(_DESCRIPTOR_COMMANDS))
    code += _when(known.ioctl, 1, _only(_TERMINAL_QUESTIONS))
    code += _when(known.prctl, 0, _only(_THREAD_NAMES))
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _when(number: int, argument: int, allowed: list[bytes]) -> list[bytes]:
    """Of one call: load an argument, and go by the last test to `allow` if it jumps 0, or past it."""
    body = [
        _instruction(_LOAD, _ARGUMENTS + 8 * argument),
        *allowed,
        _instruction(_RETURN, _ALLOW),
        _instruction(_RETURN, _REFUSE),
    ]
    return [_instruction(_EQUAL, number, 0, len(body)), *body]


def _only(values: tuple[int, ...]) -> list[bytes]:
    """Tests that jump to `allow` at any of some values, and past it at all others."""
    last = len(values) - 1
    return [_instruction(_EQUAL, value, last - at, int(at == last)) for at, value in enumerate(values)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
