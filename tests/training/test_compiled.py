"""Programs that are kept compiled: another start of a run finds them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from im_jax.config import CheckpointConfig
from im_jax.training.compiled import keep_compiled
from tests.conftest import REPOSITORY


def start(workdir: Path) -> tuple[int, int]:
    """Programs that a start of a run asks for, and finds compiled."""
    mine = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    outer = {name: value for name, value in os.environ.items() if name not in mine}
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.check_compiled", str(workdir)],
        cwd=REPOSITORY,
        env=outer | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    counts = re.search(r"asked (\d+) found (\d+)$", done.stdout.strip())
    assert counts is not None, done.stdout + done.stderr
    return int(counts[1]), int(counts[2])


def test_a_run_that_is_started_again_compiles_nothing_twice(tmp_path: Path) -> None:
    asked, _ = start(tmp_path / "run")
    assert asked > 20
    shutil.rmtree(tmp_path / "run/checkpoints/4")
    start(tmp_path / "run")  # compiles what only a run that goes on does
    shutil.rmtree(tmp_path / "run/checkpoints/4")
    asked, found = start(tmp_path / "run")
    assert asked == found > 20


@pytest.fixture
def no_cache() -> Iterator[None]:
    """JAX as it is where nobody has named a place for compiled programs."""
    names = (
        *("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"),
        "jax_persistent_cache_enable_xla_caches",
    )
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("no_cache")
def test_on_cpus_nothing_is_kept_unless_asked_for() -> None:
    for asked in ("auto", "off"):
        assert not keep_compiled("run", CheckpointConfig(compiled=asked))
        assert jax.config.jax_compilation_cache_dir is None
    assert keep_compiled("gs://bucket/run", CheckpointConfig(compiled="on"))
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/run/compiled"
    assert not jax.config.jax_persistent_cache_enable_xla_caches


@pytest.mark.usefixtures("no_cache")
def test_a_place_that_is_named_stays() -> None:
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    assert not keep_compiled("run", CheckpointConfig(compiled="on"))
    assert jax.config.jax_compilation_cache_dir == "elsewhere"
