"""Packing plans on disk: of millions of examples they take seconds to make."""

import contextlib
import hashlib
import os
import pathlib
import zipfile
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.data.packing import Plan, best_fit_plan

_VERSION: Final = 1
"""Raised by hand with every change of what `best_fit_plan` makes of the same lengths."""
WORTH: Final = 50_000
"""Examples of which a plan takes longer to make than to look for."""


def kept_plan(
    lengths: jt.Int[np.ndarray, " E"], capacity: int, seed: int, cache: pathlib.Path | None
) -> Plan:
    """`best_fit_plan` of these lengths, made now or before. What cannot be read or written is made anew."""
    if cache is None or len(lengths) < WORTH:
        return best_fit_plan(lengths, capacity, seed)
    told = np.ascontiguousarray(lengths, "<i4")
    digest = hashlib.sha256(f"plan {_VERSION}, {capacity} tokens, seed {seed}, ".encode())
    digest.update(told.data)
    path = cache / "plans" / f"{digest.hexdigest()}.npz"
    plan = _read(path, lengths, capacity)
    if plan is None:
        plan = best_fit_plan(lengths, capacity, seed)
        _write(path, plan)
    return plan


def _read(path: pathlib.Path, lengths: jt.Int[np.ndarray, " E"], capacity: int) -> Plan | None:
    """A plan that was written, if it holds every example once and no row more than it can."""
    try:
        with np.load(path, allow_pickle=False) as found:
            plan = Plan(found["examples"], found["offsets"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    examples, offsets = plan.examples, plan.offsets
    fits = examples.dtype == np.int32 and offsets.dtype == np.int64 and len(examples) == len(lengths)
    if not fits or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(lengths):
        return None
    if (np.diff(offsets) < 1).any() or examples.min() < 0 or examples.max() >= len(lengths):
        return None
    is_there = np.zeros(len(lengths), bool)
    is_there[examples] = True  # all of them only if none is twice, since there are as many
    tokens = np.add.reduceat(lengths[examples], offsets[:-1], dtype=np.int64)
    return plan if is_there.all() and (tokens <= capacity).all() else None


def _write(path: pathlib.Path, plan: Plan) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                np.savez(file, examples=plan.examples, offsets=plan.offsets)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
