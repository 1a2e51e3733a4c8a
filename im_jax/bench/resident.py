"""How much more memory a call needed at its peak than before it."""

import contextlib
import pathlib
import re
import sys
from typing import Any, Final, Self

_STATUS: Final = pathlib.Path("/proc/self/status")
_CLEAR: Final = pathlib.Path("/proc/self/clear_refs")


class PeakMemory:
    """Context that measures the growth of resident memory (Linux), and of torch's memory on a GPU."""

    def __init__(self) -> None:
        self.growth: dict[str, int] = {}
        """`resident` and, with torch on a GPU, `gpu`: bytes; what cannot be measured here is missing."""

    def __enter__(self) -> Self:
        self._resident = _resident("VmRSS") if _reset() else None
        self._cuda = _cuda()
        if self._cuda:
            self._cuda.reset_peak_memory_stats()
            self._allocated = self._cuda.memory_allocated()
        return self

    def __exit__(self, *_: object) -> None:
        peak = _resident("VmHWM")
        if self._resident is not None and peak is not None:
            self.growth["resident"] = peak - self._resident
        if self._cuda:
            self.growth["gpu"] = self._cuda.max_memory_allocated() - self._allocated


def _reset() -> bool:
    """Let the kernel forget the peak so far; False where it cannot."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
        return True
    return False


def _resident(field: str) -> int | None:
    with contextlib.suppress(OSError):
        found = re.search(rf"{field}:\s+(\d+) kB", _STATUS.read_text())
        return int(found.group(1)) * 1024 if found else None
    return None


def _cuda() -> Any:
    """torch.cuda where this process has torch and uses a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
