"""The documentation names what exists: fields, defaults, files, commands and flags."""

import importlib.util
import re
from pathlib import Path

import pytest

from im_jax.config import CHOICES, Config, flatten
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


def reference() -> dict[str, tuple[str, str]]:
    """Default and meaning of each row of the field reference."""
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \| (.+) \|$", read(REFERENCE), flags=re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in rows}


def shown(default: object) -> str:
    """A default as the reference writes it."""
    if default is None:
        return "unset"
    if default == "":
        return "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_reference_has_every_field_with_its_default_and_no_other() -> None:
    documented = {name: default for name, (default, _) in reference().items()}
    assert documented == {name: shown(default) for name, default in flatten(Config()).items()}


def test_reference_names_every_choice_of_a_field() -> None:
    rows = reference()
    missing = {name: [c for c in CHOICES[name] if f"`{c}`" not in rows[name][1]] for name in CHOICES}
    assert not {name: choices for name, choices in missing.items() if choices}


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
    for module in re.findall(r"python3? -m ((?:im_jax|tests)(?:\.\w+)*)", text):
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
