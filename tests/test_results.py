"""Pages that tell of studies say what the raw results beside them say."""

import importlib.util
import re
from typing import Any

import pytest

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "docs/results/tables.py"


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("published_tables", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = _module()


@pytest.mark.parametrize(
    ("page", "name"), [(page, table.__name__) for page, made in tables.PAGES.items() for table in made]
)
def test_a_table_is_that_of_the_raw_results(page: str, name: str) -> None:
    lines = re.sub(" +", " ", (REPOSITORY / f"docs/{page}.md").read_text(encoding="utf-8")).splitlines()
    made = [re.sub(" +", " ", line) for line in tables.lines(getattr(tables, name))]
    assert len(made) > 2
    first = lines.index(made[0])
    assert lines[first : first + len(made)] == made, f"python {FILE.name} {page} prints {name}"


def test_every_file_of_results_has_a_page() -> None:
    pages = " ".join((REPOSITORY / f"docs/{page}.md").read_text() for page in ("rewrites", "study", "sweeps"))
    for file in FILE.parent.glob("*.csv"):
        assert f"(results/{file.name})" in pages, f"{file.name} is named on no page"
