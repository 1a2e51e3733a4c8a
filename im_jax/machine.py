"""What a program runs on, for reports: processor, cores, versions. Nothing here touches an accelerator."""

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
    path = pathlib.Path("/proc/cpuinfo")
    if path.is_file() and (found := re.search(r"model name\s*: (.+)", path.read_text(encoding="utf-8"))):
        return found.group(1)
    return platform.processor() or platform.machine()


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
