"""What contestants in torch share: the device, waiting for it, and memory."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from im_jax.bench.contestant import CannotRun, Contestant, Values, load


def start() -> tuple[Any, str]:
    """torch, and the device to use: a GPU if there is one that JAX is not told to keep away from too."""
    torch = load("torch")
    if not torch.cuda.is_available() or os.environ.get("JAX_PLATFORMS") == "cpu":
        return torch, "cpu"
    # JAX multiplies float32 in TF32 on these GPUs unless told otherwise.
    torch.set_float32_matmul_precision("high")
    return torch, "cuda"


def start_on_gpu() -> tuple[Any, str]:
    """As `start`, for what has no CPU form."""
    torch, device = start()
    if device != "cuda":
        raise CannotRun("needs CUDA")
    return torch, device


def contestant(function: Callable[[], Any], values: Callable[[Any], Values]) -> Contestant:
    """A function that keeps its own arguments, waited for; `values` reads its result."""
    torch, device = start()
    results: list[Any] = [None]

    def call() -> None:
        results[0] = None
        results[0] = function()
        wait(torch, device)

    return Contestant(call, lambda: values(results[0]), device_name(torch, device), {})


def wait(torch: Any, device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(torch: Any, device: str) -> str:
    """What torch calls the device."""
    return str(torch.cuda.get_device_name()) if device == "cuda" else device


def to_numpy(tensor: Any) -> np.ndarray:
    """Float32 on the host."""
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array
