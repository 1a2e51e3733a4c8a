"""Programs of models: hostile ones fail, or do nothing, and harm nothing."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from im_jax.child_process import environment
from im_jax.errors import ConfigError
from im_jax.evaluation.code import execution
from im_jax.evaluation.code.confinement import filter_program, unavailable
from im_jax.evaluation.code.execution import Limits, Outcome, execute
from im_jax.evaluation.code.system_calls import MACHINES, refused

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "programs can be confined here")

HOSTILE = {
    "endless loop": ("while True: pass", "timeout"),
    "endless sleep": ("import time\ntime.sleep(1000)", "timeout"),
    "sleep that no signal ends": ("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)", "timeout"),
    "endless output": ("while True: print('x' * 100000)", "timeout"),
    "endless errors": ("import sys\nwhile True: sys.stderr.write('x' * 100000)", "timeout"),
    "huge memory": ("x = bytearray(10 ** 12)", "MemoryError"),
    "growing memory": ("x = [bytes(10 ** 7) for _ in range(10 ** 6)]", "MemoryError"),
    "threads without end": ("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()", "RuntimeError"),
    "files without end": ("import os\nfor _ in range(1000): os.open(os.__file__, 0)", "OSError"),
    "deep recursion": ("def f(): f()\nf()", "RecursionError"),
    "fork bomb": ("import os\nwhile True: os.fork()", "PermissionError"),
    "process": ("import subprocess\nsubprocess.run(['true'])", "PermissionError"),
    "shell": ("import os\nassert os.system('true') == 0", "AssertionError"),
    "another program": ("import os\nos.execv('/bin/true', ['true'])", "PermissionError"),
    "socket": ("import socket\nsocket.socket()", "PermissionError"),
    "local socket": ("import socket\nsocket.socket(socket.AF_UNIX)", "PermissionError"),
    "kills who started it": ("import os\nos.kill(os.getppid(), 9)", "PermissionError"),
    "kills all": ("import os\nos.kill(-1, 9)", "PermissionError"),
    "exit 0": ("import sys\nsys.exit(0)", "SystemExit"),
    "exit 0 without a word": ("import os\nos._exit(0)", "the process ended with exit code 0 before its tests did"),
    "crash": ("import ctypes\nctypes.string_at(0)", "the process was killed by signal 11 before its tests did"),
    "asks": ("input('a number?')", "EOFError"),
    "no program": ("def f(:", "SyntaxError"),
    "claims to have passed": ("import os\nfor fd in range(3, 30):\n try: os.write(fd, b'\\n' + b'0' * 32 + b' \\n')\n except OSError: pass\nos._exit(0)", "the process ended with exit code 0 before its tests did"),
    "floods what it is heard by": ("import os\nfor fd in range(3, 30):\n try:\n  while True: os.write(fd, b'x' * 4096)\n except OSError: pass", "it wrote where only its end is told"),
    "queue that outlives it": ("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nassert libc.msgget(1234, 0o1666) != -1", "AssertionError"),
    "shared memory": ("from multiprocessing import shared_memory\nshared_memory.SharedMemory('hostile', True, 4096)", "PermissionError"),
    "limits of who started it": ("import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))", "PermissionError"),
    "priority of who started it": ("import os\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 19)", "PermissionError"),
}  # fmt: skip


def test_hostile_programs_fail_each_by_its_name() -> None:
    limits = Limits(seconds=0.5, memory_bytes=1 << 29)
    found = dict(zip(HOSTILE, execute([text for text, _ in HOSTILE.values()], limits), strict=True))
    expected = {name: Outcome(False, reason) for name, (_, reason) in HOSTILE.items()}
    slow = {"growing memory", "threads without end"}  # a busy machine may end their time first
    for name in slow:
        if found[name].reason == "timeout":
            expected[name] = found[name]
    assert found == expected


def test_no_file_is_written_made_changed_or_removed(tmp_path: pathlib.Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    before = (kept.stat(), sorted(os.listdir(tmp_path)))
    where, made = repr(str(kept)), repr(str(tmp_path / "made"))
    tries = (
        f"open({made}, 'w')", f"open({where}, 'a')", f"open({where}, 'r+')", f"os.truncate({where}, 0)",
        f"os.remove({where})", f"os.rename({where}, {made})", f"os.mkdir({made})", f"os.symlink({where}, {made})",
        f"os.link({where}, {made})", f"os.chmod({where}, 0)", f"os.utime({where}, (1, 1))", f"os.mkfifo({made})",
        f"os.setxattr({where}, 'user.a', b'b')", f"shutil.rmtree({str(tmp_path)!r})", "tempfile.mkdtemp()",
        f"fcntl.flock(open({where}), fcntl.LOCK_EX)", f"os.chown({where}, 1, 1)",
        f"os.open({str(tmp_path)!r}, os.O_TMPFILE | os.O_WRONLY)",
    )  # fmt: skip
    outcomes = list(execute([f"import os, shutil, tempfile, fcntl\n{one}" for one in tries]))
    reasons = {one: outcome.reason for one, outcome in zip(tries, outcomes, strict=True)}
    # `tempfile` tries all directories and then says that there is none.
    assert reasons == {one: "FileNotFoundError" if "mkdtemp" in one else "PermissionError" for one in tries}
    assert (kept.stat(), sorted(os.listdir(tmp_path)), kept.read_text()) == (*before, "kept")


def test_good_programs_pass_and_have_what_programs_need() -> None:
    good = (
        "", "import math, random, re, json, hashlib, collections, itertools\nassert math.sqrt(4) == 2",
        "import threading\nt = threading.Thread(target=print, args=('x',))\nt.start()\nt.join()",
        "import os\nassert open(os.__file__).read(1)", "print('x')", "import numpy\nassert numpy.ones(3).sum() == 3",
    )  # fmt: skip
    assert list(execute(good)) == [Outcome(True, "")] * len(good)


def test_a_listener_is_not_reached_and_no_secret_of_the_environment_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        text = f"import socket\nsocket.create_connection(('127.0.0.1', {port}))"
        assert [o.reason for o in execute([text])] == ["PermissionError"]
        with pytest.raises(TimeoutError):
            server.accept()
    assert list(execute(["import os\nassert 'OPENAI_API_KEY' not in os.environ"])) == [Outcome(True, "")]


def test_a_program_goes_with_the_process_that_started_it() -> None:
    code = "from im_jax.evaluation.code.execution import *\nlist(execute(['import time; time.sleep(1000)'], Limits(seconds=900)))"
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment())

    def children() -> list[int]:
        text = pathlib.Path(f"/proc/{parent.pid}/task")
        found = " ".join((task / "children").read_text() for task in text.iterdir())
        return [int(word) for word in found.split()]

    for _ in range(300):
        if found := children():
            break
        time.sleep(0.02)
    time.sleep(0.3)  # it confines itself first
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(300):
        if (
            not pathlib.Path(f"/proc/{found[0]}").exists()
            or "Z (zombie)" in pathlib.Path(f"/proc/{found[0]}/status").read_text()
        ):
            return
        time.sleep(0.02)
    pytest.fail("the program lives on")


def test_nothing_is_run_where_programs_cannot_be_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "unavailable", lambda: "this is Darwin")
    with pytest.raises(ConfigError, match="programs of models are not run here: this is Darwin"):
        next(execute(["raise SystemExit"]))


@pytest.mark.parametrize(
    ("wrong", "message"), [({"seconds": 0}, "needs time"), ({"memory_bytes": 1000}, "needs more memory")]
)
def test_limits_that_cannot_work_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Limits(**wrong)


HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_of_system_calls_are_those_of_the_kernel(machine: str) -> None:
    header = pathlib.Path(HEADERS[machine])
    if not header.is_file():
        pytest.skip("the headers of Linux are not here")
    text = header.read_text()
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
    numbers = {name: int(known[name]) for name in refused(machine) if name in known}
    numbers |= {name: refused(machine)[name] for name in refused(machine) if f"__NR_{name} __NR3264" in text}
    assert numbers == refused(machine)
    assert len(set(numbers.values())) == len(numbers)
    assert len(filter_program(machine)) % 8 == 0 and len(filter_program(machine)) // 8 < 4096
