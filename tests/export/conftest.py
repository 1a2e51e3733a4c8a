"""A run, and its export."""

from pathlib import Path

import pytest

from im_jax.training.start import train
from tests.export.asked import written
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    config = tiny_config(tie_embeddings=True)
    config.model.compute_dtype = "float32"
    train(config, path, QUIET)
    return path


@pytest.fixture(scope="session")
def folder(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, exported."""
    path = tmp_path_factory.mktemp("export") / "out"
    written(f"--workdir={workdir}", f"--output={path}")
    return path
