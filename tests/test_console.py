"""What is printed is text, whatever it holds, and there is no other way to print."""

import ast
import io
from pathlib import Path

import pytest
from rich.table import Table

from im_jax.console import Console, Words, bar_column, count_column, print_json, print_text, words
from tests.conftest import REPOSITORY

NASTY = "runs[old]/[/x] :smile: \x1b[31m→"
SHOWN = r"runs[old]/[/x] :smile: \x1b[31m→"


def ascii_stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode("ascii")


def test_lines_tables_and_titles_are_shown_as_they_stand() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80)
    console.print(NASTY)
    table = Table(NASTY, title=NASTY)
    table.add_row(NASTY)
    table.add_row(words(NASTY, "bold"))
    console.print(table)
    assert file.getvalue().count(SHOWN) == 5
    assert "\x1b" not in file.getvalue()


def test_a_line_is_not_broken_and_a_table_is_laid_out() -> None:
    file = io.StringIO()
    console = Console(file=file, width=20)
    console.print("a path " + "x" * 50)
    table = Table(box=None, show_header=False)
    table.add_row("words that need more room than there is")
    console.print(table)
    first, *others = file.getvalue().splitlines()
    assert first == "a path " + "x" * 50
    assert len(others) > 1 and max(map(len, others)) <= 20


def test_bars_and_what_is_going_on_are_no_markup() -> None:
    from rich.progress import Progress

    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system=None)
    with Progress(Words(NASTY), Words(field="name"), console=console) as bars:
        bars.add_task("", total=3, name=NASTY)
    with console.status(NASTY) as status:
        status.update(words(NASTY))
    assert file.getvalue().count(SHOWN) >= 4
    assert "\x1b[31m" not in file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_tables_keep_their_numbers_on_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    table = Table("class", "trained", "tokens", "NLL (nats)", "perplexity", title="Held-out loss by class")
    table.add_row("assistant", "yes", "123,456", "1.2345", "3.44")
    console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(number in shown for number in ("123,456", "1.2345", "3.44")) and "…" not in shown
    assert ("┃" in shown) == (width > 40)


@pytest.mark.parametrize("width", [40, 60, 120])
def test_bars_keep_their_counts_and_words_on_a_narrow_terminal(width: int) -> None:
    from rich.progress import Progress

    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    columns = (Words("training"), bar_column(console), count_column(), Words(field="numbers"))
    bars = Progress(*columns, console=console)
    bars.add_task("", total=10_000, completed=1234, numbers="loss 1.25  and much more to say " * 5)
    console.print(bars.get_renderable())
    (line,) = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert line.startswith("training ") and " 1234/10000 loss 1.25" in line
    assert len(line) <= width


def test_an_encoding_without_the_character_stops_nothing() -> None:
    stream = ascii_stream()
    print_text(NASTY, stream)
    print_json({"a": "→é"}, stream)
    console = Console(file=stream, width=80)
    console.print(NASTY)
    table = Table("→", title="±")
    table.add_row("½")
    console.print(table)
    lines = written(stream).splitlines()
    assert lines[0] == lines[2] == SHOWN.replace("→", r"\u2192")
    assert lines[1] == r'{"a": "\u2192\u00e9"}'
    assert any(r"\xbd" in line for line in lines[3:])


FORBIDDEN = {
    "rich.console": {"Console"},
    "rich.markup": {"render"},
    "rich.progress": {"TextColumn"},
    "rich.status": {"Status"},
    "rich.text": {"Text"},
    "rich": {"print", "console"},
}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "im_jax").rglob("*.py")), ids=str)
def test_nothing_is_printed_but_through_the_console(path: Path) -> None:
    if path == REPOSITORY / "im_jax" / "console.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom):
            taken = FORBIDDEN.get(node.module or "", set()) & {name.name for name in node.names}
            assert not taken, f"{where}: take {taken} from im_jax.console"
        if isinstance(node, ast.Import):
            assert not {name.name for name in node.names} & FORBIDDEN.keys(), where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{where}: print through im_jax.console"
