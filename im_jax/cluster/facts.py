"""What all processes of a run must have in common, and how they differ."""

import hashlib
import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Final

import im_jax

_SHOWN: Final = 8
"""Differences in a message."""
_ABSENT: Final = "(absent)"

Facts = Mapping[str, Any]


def own_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, the code, what the environment tells the compiler, and a flat configuration."""
    versions = {f"version of {name}": _version(name) for name in ("jax", "jaxlib", "libtpu", "numpy")}
    python = ".".join(platform.python_version_tuple()[:2])
    own = {"version of Python": python, **versions, "code of im_jax": code_digest()}
    own["LIBTPU_INIT_ARGS"] = os.environ.get("LIBTPU_INIT_ARGS", "")
    return as_sent({**own, **config})


def as_sent(facts: Facts) -> dict[str, Any]:
    """Facts as they are on the other side of a connection."""
    sent: dict[str, Any] = json.loads(json.dumps(dict(facts), default=str))
    return sent


def code_digest() -> str:
    """Of all modules of this package as they are on disk."""
    root, digest = pathlib.Path(im_jax.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def differences(names: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    """A line for each fact that a process has otherwise than the first one, cut short; none: all agree.

    Args:
        names: of the processes, for a reader.
        facts: of each.
    """
    found = []
    for name, own in zip(names[1:], facts[1:], strict=True):
        for key in sorted({*facts[0], *own}):
            here, there = own.get(key, _ABSENT), facts[0].get(key, _ABSENT)
            if here != there:
                found.append(f"{name}: {key}={_shown(here)}, on {names[0]} {_shown(there)}")
    more = len(found) - _SHOWN
    return [*found[:_SHOWN], f"and {more} more"] if more > 0 else found


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _ABSENT
