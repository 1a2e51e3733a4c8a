"""A process that runs one program of a model: `python -m im_jax.evaluation.code.confined FD`.

`execution` starts it. It reads a `Job` as JSON from its standard input, confines itself, says on the pipe of
number FD that it begins, runs the program, and says there how that ended. What the program prints goes
nowhere. A program that ends the process, as by `os._exit(0)`, leaves nothing there, and what is there counts
only with the secret of the job.
"""

import json
import os
import sys
from typing import Final, Never, TypedDict

from im_jax.evaluation.code.confinement import confine

BEGINS: Final = b"begins\n"
"""What it says first."""


class Job(TypedDict):
    """What it is told."""

    program: str
    memory_bytes: int
    processor_seconds: int
    secret: str
    """Put before the word on how the program ended."""
    parent: int
    """Number of the process that has started it."""


def main() -> Never:
    """Run a program, and end."""
    answers = int(sys.argv[1])
    job: Job = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # there is nothing to be asked
    # A program may replace whatever module it likes, these functions too.
    write, end = os.write, os._exit
    confine(job["memory_bytes"], job["processor_seconds"])
    if os.getppid() != job["parent"]:  # which ended before the kernel knew that this one goes with it
        end(1)
    write(answers, BEGINS)
    said = run(job["program"])
    write(answers, f"\n{job['secret']} {said}\n".encode())
    end(0)


def run(program: str) -> str:
    """How a program ends: nothing if it comes to its end, else the kind of what it raised."""
    try:
        exec(compile(program, "program", "exec"), {"__name__": "program"})
    except BaseException as error:  # whatever it is, it is the program's; SystemExit and Ctrl-C too
        return type(error).__name__
    return ""


if __name__ == "__main__":
    main()
