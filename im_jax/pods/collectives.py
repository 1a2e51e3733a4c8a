"""What a compiled program sends between devices, read from its text (HLO).

Every collective with its kind, its bytes, how often it runs and the axes of the mesh that it runs along.
"""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from im_jax.loops import most_trips

_HEADER = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_RESULT = re.compile(r"%([\w.\-]+) = (\(.*?\)|\S+) ")
_COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\((.*?)\), channel_id="
)
# What runs beside other work is written in all computations that it runs beside, from its start to its end.
_LATER_PART = re.compile(r"^async_collective_fusion")
_DONE = 'custom_call_target="AsyncCollectiveDone"'
_NAME = re.compile(r"%([\w.\-]+)")
_OPERAND = re.compile(r"%([\w.\-]+)(?:#(\d+))?")
_CALLED = re.compile(r"(?:calls|to_apply|body)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"condition=%([\w.\-]+)")
# What libtpu makes of an exchange between slices: the part that takes in.
_NETWORK = re.compile(r" recv\(.*_xla_megascale_transfer_type=\"(\w+)\"")
_SLICES = re.compile(r"_xla_megascale_target=\"\{([\d,]+)\}")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_BY_AXIS = re.compile(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}")
_AXIS_SIZE = re.compile(r"'(\w+)'=(\d+)")
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_CONSTANT = re.compile(r"= s32\[\]\S* constant\((\d+)\)")
_ARRAY = re.compile(r"\b(?:pred|[subf][a-z]*(\d+)\w*)\[([\d,]*)\]")


BETWEEN_SLICES: Final = ("slices",)
"""In place of axes: slices of TPUs exchange over a network, each device with its like in the others."""


class Collective(NamedTuple):
    """Exchanges of one kind along the same axes."""

    kind: str
    """`all-gather`, `all-reduce`, `reduce-scatter`, `all-to-all` or `collective-permute`."""
    axes: tuple[str, ...]
    """Of the mesh, those with more than one device; BETWEEN_SLICES; () where they cannot be told."""
    group: int
    """Devices that exchange with each other."""
    bytes: int
    """That one device puts in or takes out in a run of the program. The larger side counts: what is gathered,
    and what is there before it is reduced."""
    times: int
    """How often, in a run of the program."""


def collectives(program: str, mesh: Mapping[str, int] = MappingProxyType({})) -> list[Collective]:
    """All exchanges of a program, added up by kind and axes, most bytes first.

    A loop counts as often as it runs: one whose trips are data as often as its name says at most
    (`im_jax.loops`), else once. Of a branch on data the one with most bytes counts.

    Args:
        program: optimised HLO.
        mesh: sizes of the axes by name, in order, for programs that name devices by number.
    """
    found: dict[tuple[str, tuple[str, ...], int], list[int]] = {}
    for kind, size, times, groups in _collectives(program):
        axes, group = _axes(groups, mesh)
        total = found.setdefault((kind, axes, group), [0, 0])
        total[0] += size * times
        total[1] += times
    merged = [Collective(*key, size, times) for key, (size, times) in found.items()]
    return sorted(merged, key=lambda each: -each.bytes)


def collective_bytes(program: str) -> dict[str, int]:
    """Bytes of `collectives` by kind."""
    found: dict[str, int] = {}
    for each in collectives(program):
        found[each.kind] = found.get(each.kind, 0) + each.bytes
    return found


_Found = tuple[str, int, int, str]
"""Kind, bytes, times, and what the program says of the groups."""


def _collectives(program: str) -> list[_Found]:
    """Those of all computations that are reached."""
    entry, bodies = _computations(program)

    def walk(name: str, times: int) -> list[_Found]:
        sizes: dict[str, list[int]] = {}
        found: list[_Found] = []
        if _LATER_PART.search(name) or any(_DONE in line for line in bodies.get(name, ())):
            return found
        for line in bodies.get(name, ()):
            if result := _RESULT.search(line):
                sizes[result[1]] = _bytes(result[2])
            if (collective := _COLLECTIVE.search(line)) and result:
                kind, operands = collective.groups()
                given = sum(
                    _size(sizes.get(operand, []), part) for operand, part in _OPERAND.findall(operands)
                )
                size = max(given, sum(_bytes(result[2])) if "-start(" not in line else 0)
                found.append((kind, size, times, line))
            if (over := _NETWORK.search(line)) and result:
                kind = over[1].lower().replace("_", "-")
                found.append((kind, _bytes(result[2])[0], times, line))
            inner = times * _trips(bodies, line)
            for computation in _CALLED.findall(line):
                found += walk(computation, inner)
            for branches in _BRANCHES.findall(line):
                sides = [walk(branch, inner) for branch in _NAME.findall(branches)]
                found += max(sides, key=lambda side: sum(size * times for _, size, times, _ in side))
        return found

    return walk(entry, 1)


def _axes(line: str, mesh: Mapping[str, int]) -> tuple[tuple[str, ...], int]:
    """Along which axes a line exchanges, and among how many devices."""
    if _NETWORK.search(line):
        target = _SLICES.search(line)
        return BETWEEN_SLICES, len(target[1].split(",")) if target else 0
    members = _members(line)
    if named := _BY_AXIS.search(line):
        sizes, along = _named(named)
        if not mesh or sizes.keys() <= mesh.keys():
            return tuple(name for name in sizes if name in along and sizes[name] > 1), len(members)
    if not mesh or math.prod(mesh.values()) <= max(members, default=0):
        return (), len(members)
    places = np.unravel_index(members, tuple(mesh.values()))
    axes = tuple(name for name, place in zip(mesh, places, strict=True) if len(set(place)) > 1)
    permuted = _PAIRS.search(line)
    return axes, math.prod(mesh[axis] for axis in axes) if permuted else len(members)


def _named(found: re.Match[str]) -> tuple[dict[str, int], list[str]]:
    """Sizes of the axes by which a line names its groups, maybe the compiler's own, and those it is along."""
    sizes = {name: int(size) for name, size in _AXIS_SIZE.findall(found[1])}
    return sizes, re.findall(r"'(\w+)'", found[2])


def _members(line: str) -> list[int]:
    """Devices of the first group, by number; of a permutation those that the first one reaches."""
    if named := _BY_AXIS.search(line):
        sizes, along = _named(named)
        numbers = np.arange(math.prod(sizes.values())).reshape(tuple(sizes.values()))
        return numbers[tuple(slice(None) if name in along else 0 for name in sizes)].ravel().tolist()
    if listed := _LISTED.search(line):
        return [int(number) for number in listed[1].split(",")]
    if pairs := _PAIRS.search(line):
        following: dict[int, int] = dict(_two(pair) for pair in re.findall(r"\{(\d+,\d+)\}", pairs[1]))
        members, at = [], min(following, default=None)
        while at is not None and at not in members:
            members.append(at)
            at = following.get(at)
        return members
    if iota := _IOTA.search(line):
        shape, base, order = (
            tuple(int(size) for size in (text or "").split(",") if size) for text in iota.groups()
        )
        numbers = np.arange(math.prod(base)).reshape(base)
        return np.transpose(numbers, order or None).reshape(shape)[0].tolist()
    return []


def _two(pair: str) -> tuple[int, int]:
    first, second = pair.split(",")
    return int(first), int(second)


def _trips(bodies: dict[str, list[str]], line: str) -> int:
    """How often a line runs what it calls: for a loop that counts to a constant, that."""
    condition = _CONDITION.search(line)
    if condition is None:
        return 1
    lines = bodies[condition[1]]
    counts = [int(found[1]) for each in lines if (found := _CONSTANT.search(each))]
    if len(counts) == 1 and "direction=LT" in lines[-1]:
        return counts[0]
    name = _OP_NAME.search(line)
    return (most_trips(name[1]) if name else None) or 1


def _computations(program: str) -> tuple[str, dict[str, list[str]]]:
    bodies: dict[str, list[str]] = {}
    entry = name = ""
    for line in program.splitlines():
        if header := _HEADER.match(line):
            name = header[2]
            bodies[name] = []
            entry = name if header[1] else entry
        elif name and line.startswith("  "):
            bodies[name].append(line)
    return entry, bodies


def _size(arrays: list[int], part: str) -> int:
    """Bytes of a value, or of a part of it, as `%fusion.3#1` names one."""
    return arrays[int(part)] if part else sum(arrays)


def _bytes(shape: str) -> list[int]:
    """Of each array of a shape."""
    return [
        math.prod(int(size) for size in dims.split(",") if size) * int(bits or 8) // 8
        for bits, dims in _ARRAY.findall(shape)
    ]
