"""Fixtures shared by all tests, and shape checking of every array function of the package."""

import atexit
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import jaxtyping
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# No test may find what another checkout has encoded, nor leave anything in the user's own cache.
os.environ["IM_JAX_CACHE"] = tempfile.mkdtemp(prefix="im_jax_cache_")
atexit.register(shutil.rmtree, os.environ["IM_JAX_CACHE"], ignore_errors=True)

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def modules_with_arrays() -> list[str]:
    """Modules of the package that write shapes. What a module without any calls takes some 30 us more if checked,
    which made encoding six times as long; its types are checked by mypy."""
    files = sorted((REPOSITORY / "im_jax").rglob("*.py"))
    names = [
        file.relative_to(REPOSITORY).with_suffix("").parts
        for file in files
        if "jaxtyping" in file.read_text()
    ]
    return [".".join(name).removesuffix(".__init__") for name in names]


jaxtyping.install_import_hook(modules_with_arrays(), "tests.check")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The directory of real data beside the repository; tests that need it are skipped without it."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("real data is not here: expected a directory ../shared/data beside the repository")
    return path


@pytest.fixture
def compiled_quickly() -> Iterator[None]:
    """Without the passes of LLVM that take most of the time, for tests that run a program once and ask for numbers."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
