"""What is tested here are whole runs, whose programs take longer to compile than to run."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def all_compiled_quickly(compiled_quickly: None) -> None: ...
