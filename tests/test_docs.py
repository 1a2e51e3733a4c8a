"""The documentation names what exists: fields, defaults, files, commands and flags."""

import importlib.util
import re
from pathlib import Path

import pytest

from im_jax.config import Config, flatten, records
from im_jax.config.table import rewritten
from tests.conftest import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
REFERENCE = REPOSITORY / "docs" / "configuration.md"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Targets of links to the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_reference_of_fields_is_what_their_records_say() -> None:
    page = read(REFERENCE)
    assert page == rewritten(page, records(Config)), "write it anew: python -m im_jax.config.table"


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(linked), f"{target}: no such heading"


@each_page
def test_commands_exist(page: Path) -> None:
    text = read(page)
    # In capitals stands a name for any command, as in `im_jax.COMMAND`.
    for module in re.findall(r"python3? -m ((?:im_jax|tests)(?:\.[a-z_]\w*)*)", text):
        assert importlib.util.find_spec(module) is not None, f"python -m {module}: no such module"
    for script in re.findall(r"(?<![\w/])(?:\./)?(launch/\w+\.sh|\.ci/\w+)", text):
        assert (REPOSITORY / script).is_file(), f"{script}: no such script"


@each_page
def test_flags_are_of_fields_that_exist(page: Path) -> None:
    known = flatten(Config())
    for flag in re.findall(r"--config\.([a-z][\w.]*)(?==| )", read(page)):
        wanted = re.escape(flag).replace("CLASS", r"\w+")
        # Error messages that are quoted for a misspelt field do not write it as a flag.
        assert any(re.fullmatch(wanted, name) for name in known), f"--config.{flag}: no such field"


@each_page
def test_files_of_the_project_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:im_jax|configs|tests|docs|launch)/[\w/.]+\.\w+)`", prose(page)):
        assert (REPOSITORY / path).exists(), f"{path}: no such file"
