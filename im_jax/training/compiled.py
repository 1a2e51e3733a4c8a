"""Compiled programs kept beside a run, so that it starts again without compiling."""

import os
from typing import Final

import jax

from im_jax.config import CheckpointConfig

FOLDER: Final = "compiled"
"""In the directory of a run."""


def keep_compiled(workdir: str | os.PathLike[str], config: CheckpointConfig) -> bool:
    """Let JAX keep what it compiles from now on in this process, and read what is there.

    Call it before anything is compiled, in a process that is one run's: JAX has one place for each process.
    Where `JAX_COMPILATION_CACHE_DIR` names one, that stays. On CPUs nothing is kept by default: code for one
    kind of CPU may end in an illegal instruction on another, and who starts a run again may use another one.

    Args:
        workdir: of the run; it may be remote.
        config: `compiled` says whether.

    Returns:
        Whether they are kept in the directory of the run.
    """
    named = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if named or config.compiled == "off":
        return False
    if config.compiled == "auto" and jax.default_backend() == "cpu":
        return False
    place = os.path.join(workdir, FOLDER)
    jax.config.update("jax_compilation_cache_dir", place)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if "://" in place:  # XLA writes its own caches beside, and knows local files only
        jax.config.update("jax_persistent_cache_enable_xla_caches", "")
    return True
