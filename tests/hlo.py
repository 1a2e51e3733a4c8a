"""What a compiled program sends and keeps, read from its text (HLO)."""

import math
import re
from collections.abc import Iterator

_HEADER = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_RESULT = re.compile(r"%([\w.\-]+) = (\(.*?\)|\S+) ")
_COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\((.*?)\), channel_id="
)
# What runs beside other work is written in all computations that it runs beside, from its start to its end.
_LATER_PART = re.compile(r"^async_collective_fusion")
_DONE = 'custom_call_target="AsyncCollectiveDone"'
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply|body)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"condition=%([\w.\-]+)")
_CONSTANT = re.compile(r"= s32\[\]\S* constant\((\d+)\)")
_ARRAY = re.compile(r"\b(?:pred|[subf][a-z]*(\d+)\w*)\[([\d,]*)\]")


def collective_bytes(program: str) -> dict[str, int]:
    """Bytes that one device puts into or takes out of each kind of collective, in one run of a program.

    The larger side counts: what is gathered, and what is there before it is reduced. A loop counts as often as it
    runs, once where data decide that; of a branch on data all sides count.
    """
    found: dict[str, int] = {}
    for kind, size in _collectives(program):
        found[kind] = found.get(kind, 0) + size
    return found


def buffers(program: str, dtype: str) -> set[tuple[int, ...]]:
    """Shapes of all arrays of a type in a program."""
    shapes = re.findall(rf"\b{dtype}\[([\d,]+)\]", program)
    return {tuple(int(size) for size in shape.split(",")) for shape in shapes}


def _collectives(program: str) -> Iterator[tuple[str, int]]:
    """Kind and bytes of each, in all computations that are reached."""
    entry, bodies = _computations(program)

    def walk(name: str, times: int) -> Iterator[tuple[str, int]]:
        shapes: dict[str, int] = {}
        if _LATER_PART.search(name) or any(_DONE in line for line in bodies.get(name, ())):
            return
        for line in bodies.get(name, ()):
            if result := _RESULT.search(line):
                shapes[result[1]] = _bytes(result[2])
            if (collective := _COLLECTIVE.search(line)) and result:
                kind, operands = collective.groups()
                given = sum(shapes[operand] for operand in _NAME.findall(operands))
                yield kind, times * max(given, _bytes(result[2]) if "-start(" not in line else 0)
            inner = times * _trips(bodies, line)
            called = _CALLED.findall(line)
            for branches in _BRANCHES.findall(line):
                called += _NAME.findall(branches)
            for computation in called:
                yield from walk(computation, inner)

    return walk(entry, 1)


def _trips(bodies: dict[str, list[str]], line: str) -> int:
    """How often a line runs what it calls: for a loop that counts to a constant, that."""
    condition = _CONDITION.search(line)
    if condition is None:
        return 1
    lines = bodies[condition[1]]
    counts = [int(found[1]) for each in lines if (found := _CONSTANT.search(each))]
    return counts[0] if len(counts) == 1 and "direction=LT" in lines[-1] else 1


def _computations(program: str) -> tuple[str, dict[str, list[str]]]:
    entry, name, bodies = "", "", {}
    for line in program.splitlines():
        if header := _HEADER.match(line):
            name = header[2]
            bodies[name] = []
            entry = name if header[1] else entry
        elif name and line.startswith("  "):
            bodies[name].append(line)
    return entry, bodies


def _bytes(shape: str) -> int:
    return sum(
        math.prod(int(size) for size in dims.split(",") if size) * int(bits or 8) // 8
        for bits, dims in _ARRAY.findall(shape)
    )
