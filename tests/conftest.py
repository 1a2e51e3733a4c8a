"""Fixtures shared by all tests, and shape checking of every array function of the package."""

import atexit
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import jaxtyping
import pytest

from tests.compiling import quickly

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# No test may find what another checkout has encoded, nor leave anything in the user's own cache.
os.environ["IM_JAX_CACHE"] = tempfile.mkdtemp(prefix="im_jax_cache_")
atexit.register(shutil.rmtree, os.environ["IM_JAX_CACHE"], ignore_errors=True)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Runs of one configuration, in all processes of the tests, compile their programs once.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="im_jax_compiled_")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=18, help="how often tests/faults kills runs at random moments"
    )


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


@pytest.fixture(scope="module")
def compiled_quickly() -> Iterator[None]:
    """For modules whose tests run a program once and ask for numbers: see `quickly`."""
    with quickly():
        yield
