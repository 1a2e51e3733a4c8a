"""What XLA writes about a program's memory with `--xla_dump_to`, long before it generates code.

`*-memory-usage-report.txt` has the bytes of each kind of memory, `*-live-range.txt` what is live when most
is, and `*.after_optimizations.txt` the program.
"""

import pathlib
import re
from typing import Final, NamedTuple

UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

_HBM: Final = re.compile(r"^Memory Space: default \(color=0\)\nTotal bytes: (\d+)", re.MULTILINE)
_NODE: Final = re.compile(
    r"^(?P<depth>[ │├└─]*)(?P<name>.+?) \((?P<share>[\d.]+)%, total: (?P<total>[\d ]+) bytes, "
    r"current: (?P<current>[\d ]+) bytes, remaining: [\d ]+ bytes\)$"
)
_ARGUMENTS: Final = ("state", "frozen", "batch", "told")
_OOM: Final = re.compile(
    r"required for HLO temporaries \(([\d.]+)([KMGT]?)B?\) exceeds available HBM \(([\d.]+)([KMGT]?)B?\)"
)


class Buffer(NamedTuple):
    """Memory that is in use when most is."""

    name: str
    """Of what it holds, as JAX names it: `state.params.layers.mlp.down`, or an operation of the step."""
    bytes: int


class TooLarge(NamedTuple):
    """What the compiler says of a program that no device can hold."""

    needed: int
    """Bytes, to the two digits behind the point that are printed."""
    available: int


def hbm_bytes(report: str) -> int | None:
    """What a program needs of a device's memory, arguments included, by the report on memory usage.

    It is this that the compiler compares with what a device has. None: the report does not say.
    """
    found = _HBM.search(report)
    return int(found[1]) if found else None


def largest_buffers(live_range: str, most: int = 10) -> list[Buffer]:
    """The largest of what is live when most is, from the text of live ranges, largest first.

    What the compiler made without a name of JAX's has the name of the part of the program around it.
    """
    _, _, tree = live_range.partition("Stack trace breakdown for peak usage:")
    path: list[tuple[int, str]] = []
    sizes: dict[str, int] = {}
    for line in tree.splitlines()[1:]:
        node = _NODE.match(line)
        if node is None:
            continue
        depth = len(node["depth"])
        path = [(at, name) for at, name in path if at < depth]
        path.append((depth, node["name"].strip()))
        if current := int(node["current"].replace(" ", "")):
            name = _name([each for _, each in path])
            sizes[name] = sizes.get(name, 0) + current
    ordered = sorted(sizes.items(), key=lambda each: (-each[1], each[0]))
    return [Buffer(name, size) for name, size in ordered[:most]]


def too_large(message: str) -> TooLarge | None:
    """The numbers in the compiler's message; None if it is about something else."""
    found = _OOM.search(message)
    if found is None:
        return None
    needed, unit, available, unit_of_available = found.groups()
    return TooLarge(_bytes(needed, unit), _bytes(available, unit_of_available))


def module(folder: pathlib.Path, name: str, ending: str) -> pathlib.Path | None:
    """The file of a program in a folder of dumps; None as long as there is none."""
    found = sorted(folder.glob(f"*.jit_{name}.*{ending}"))
    return found[-1] if found else None


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * UNITS[unit])


def _name(path: list[str]) -> str:
    """Of a node under others: an argument's parts joined, else the innermost name that JAX gave, `a/b/c`."""
    for argument in _ARGUMENTS:
        if argument in path:
            return ".".join(path[path.index(argument) :])
    named = [name for name in path if "/" in name] or path[-1:]
    return re.sub(r"\{\d+\}$", "", named[-1])
