"""The run that nothing happens to, with which all others are compared."""

from pathlib import Path

import pytest

from tests.faults.runs import Outcome, Run, outcome, pair, start_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> None:
    """For the process that runs are forked from, which is started with the first of them."""
    variables = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)
        start_server()


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory; not to be changed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    run = Run(workdir)
    assert run.code() == 0, run.said
    return workdir


@pytest.fixture(scope="session")
def whole(whole_run: Path) -> Outcome:
    return outcome(whole_run)


@pytest.fixture(scope="session")
def whole_pair(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Of two processes to which nothing happens."""
    workdir = tmp_path_factory.mktemp("pair") / "run"
    with pair(workdir) as runs:
        assert [run.code() for run in runs] == [0, 0], runs[0].said + runs[1].said
    return outcome(workdir)
