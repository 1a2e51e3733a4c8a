"""Answers to many prompts at once: parameters, sampling, what devices do, the engine, and its files.

    generator = Generator(model)
    for completion in generator([Request("1", model.text("Once"), SamplingParams(max_tokens=20))]):
        print(completion.text)

Names are looked up when they are used: parameters come without JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from im_jax.generation.generator import Generator
    from im_jax.generation.parameters import SamplingParams
    from im_jax.generation.requests import Completion, Request

__all__ = ["Completion", "Generator", "Request", "SamplingParams"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = {"Generator": "generator", "SamplingParams": "parameters"}.get(name, "requests")
    return getattr(importlib.import_module(f"{__name__}.{place}"), name)
