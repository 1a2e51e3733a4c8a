"""The stand-in cloud of the tests of `launch/`."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.cloud import Cloud, make_cloud


@pytest.fixture(scope="session")
def empty_cloud(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """For tests that leave it empty."""
    return make_cloud(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def cloud(empty_cloud: Cloud, tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path / "cloud", tmp_path / "repository")
    shutil.copytree(empty_cloud.path, cloud.path)
    shutil.copytree(empty_cloud.repository, cloud.repository)
    yield cloud
    if (cloud.path / "hosts").exists():  # what may still run there
        command = ["gcloud", "compute", "tpus", "queued-resources", "delete", "run-1"]
        subprocess.run(command, env=cloud.environment(), capture_output=True, check=False)
