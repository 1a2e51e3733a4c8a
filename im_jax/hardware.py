"""What a program runs on: processor, cores, versions. Nothing here touches an accelerator."""

import functools
import importlib.metadata
import os
import pathlib
import platform
import re
from typing import Final

import im_jax

_PACKAGES: Final = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def processor() -> str:
    """Model of the processor."""
    return _listed("model name") or platform.processor() or platform.machine()


@functools.cache
def instructions() -> frozenset[str]:
    """Names of what the processor can do, such as `avx512_bf16`; none where the system does not list them."""
    return frozenset(_listed("flags").split())


def cores() -> int | None:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of what the numbers of a run depend on."""
    return {
        "im_jax": im_jax.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _listed(name: str) -> str:
    """What Linux says of the first processor under a name."""
    path = pathlib.Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    found = re.search(rf"^{name}\s*:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""
