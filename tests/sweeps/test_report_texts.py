"""What the report shows of others stays text, what it says of settings is true, and its figures are its own."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from im_jax.sweeps import tables
from im_jax.sweeps.cells import expand
from im_jax.sweeps.definition import Measure, Plot, Profile, Sweep, over
from im_jax.sweeps.report import write_report
from im_jax.sweeps.results import Result, ResultsFile, Status
from tests.sweeps.small import LOSS, small_sweep

NASTY = [
    "<script>alert(1)</script>",
    r"a|b \| c\\| d\|",
    "`x` ``y`` `",
    "[link](http://x) *a* _b_ ~~c~~ $d$ &amp;",
    "two\nlines | and \x1b[31mred\x1b[0m",
]


def tables_of(markdown: str) -> list[list[list[str]]]:
    """Cells of each table as a reader sees them, by a parser of Markdown; HTML stops it."""
    found: list[list[list[str]]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("table_open", "table_close"):
            inside = token.type == "table_open"
            found += [[]] if inside else []
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and inside:
            shown = [child for child in token.children or [] if child.content not in ("<code>", "</code>")]
            assert {child.type for child in shown} <= {"text", "text_special", "code_inline", "softbreak"}
            found[-1][-1].append("".join(child.content for child in shown))
    return found


def seen(text: str) -> str:
    """A text in one line, with control characters as escapes."""
    return " ".join(text.split()).replace("\x1b", r"\x1b")


@pytest.mark.parametrize("text", NASTY)
def test_cells_show_texts_and_code_as_they_are(text: str) -> None:
    assert tables_of(tables.of_texts([text, "b"], [["1", text], [text, text]])) == [
        [[seen(text), "b"], ["1", seen(text)], [seen(text), seen(text)]]
    ]
    (table,) = tables_of(tables.of_markdown(["a", "b"], [[tables.code(text), "1"]]))
    assert table[1] == [seen(text), "1"]


@pytest.mark.parametrize("text", NASTY)
def test_report_shows_labels_titles_and_errors_as_they_are(text: str, tmp_path: Path) -> None:
    axes = {text: {text: {"data.path": text}, "other": {"data.path": "b"}}, "n": over("train.steps", 4, 5)}
    sweep = small_sweep(
        title=text,
        axes=axes,
        measures=(Measure("loss", text),),
        profiles=(Profile(text, "step", {text: text}),),
        plot=Plot(x="n", series=text),
        seeds=(0,),
    )
    results, (first, *others) = ResultsFile(tmp_path / "results.jsonl"), expand(sweep)
    results.put(Result(first.labels, 0, first.hash, Status.FAILED, 1.0, error=text))
    for cell in others:
        summary = {"loss": 1.0, text: 2.0}
        results.put(Result(cell.labels, 0, cell.hash, Status.FINISHED, 1.0, summary=summary))
    write_report(sweep, [first, *others], results, tmp_path, f"python '{text}'")
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "\x1b" not in markdown
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    inside = [child for token in tokens for child in token.children or []]
    assert not [t for t in tokens if t.type == "html_block"]
    assert {t.content for t in inside if t.type == "html_inline"} <= {"<code>", "</code>"}
    assert {t.attrs["src"] for t in inside if t.type == "image"} == {"figures/loss.png", *pictures(tmp_path)}
    assert not [t for t in inside if t.type == "link_open"]
    means, paired, profile, failed, points, _ = tables_of(markdown)
    assert means[0] == [seen(text), "n", "runs", seen(text)] and means[1][0] == seen(text)
    assert paired[0] == ["n", "pairs", seen(text)]
    assert profile[0] == [seen(text), "n", seen(f"step {text}")]
    assert failed[1] == [first.name, seen(text)]
    assert points[1] == [seen(text), seen(text), seen(f"data.path={text}")]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.tags <= set(
        [
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "h2",
            "h3",
            "p",
            "ul",
            "li",
            "code",
            "pre",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "img",
            "a",
        ]
    )
    assert len(page.images) == len(pictures(tmp_path))
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert seen(text) in seen(page.text)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.images: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attributes)["src"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def pictures(workdir: Path) -> set[str]:
    return {path.relative_to(workdir).as_posix() for path in (workdir / "figures").glob("*.png")}


def report(sweep: Sweep, workdir: Path) -> str:
    """The report of a sweep of which each run has finished with one number."""
    cells, results = expand(sweep), ResultsFile(workdir / "results.jsonl")
    for cell in cells:
        summary = {measure.name: 1.0 for measure in sweep.measures}
        results.put(Result(cell.labels, cell.seed, cell.hash, Status.FINISHED, 1.0, summary=summary))
    write_report(sweep, cells, results, workdir, "command")
    return (workdir / "report.md").read_text(encoding="utf-8")


def test_what_a_run_has_of_its_own_is_not_said_to_be_shared(tmp_path: Path) -> None:
    axes = {
        "steps": {"few": {"train.steps": 3}},
        "rate": {"base's": {}, "higher": {"optimizer.learning_rate": 0.5, "data.max_length": 99}},
    }
    sweep = small_sweep(axes=axes, seed_fields=("seed", "data.seed"), plot=None)
    sweep.base.data.seed = 9
    *_, points, shared = tables_of(report(sweep, tmp_path))
    length = sweep.base.data.max_length
    assert points[1:] == [
        ["steps", "few", "train.steps=3"],
        ["rate", "base's", f"optimizer.learning_rate=0.003, data.max_length={length}"],
        ["rate", "higher", "optimizer.learning_rate=0.5, data.max_length=99"],
        ["seed", "0, 1", "seed, data.seed"],
    ]
    fields = {name for name, _ in shared[1:]}
    assert "train.batch_size" in fields
    assert not fields & {"train.steps", "optimizer.learning_rate", "data.max_length", "seed", "data.seed"}


def test_figures_that_a_report_shows_no_more_go_and_others_stay(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    report(small_sweep(measures=(LOSS, Measure("old"))), tmp_path)
    assert {path.stem for path in figures.iterdir()} == {"heldout.nll_assistant", "old"}
    for own in ("mine.png", "old copy.png", "old.svg", "old.png.bak"):
        (figures / own).write_text("my own")
    again = small_sweep(measures=(LOSS, Measure("new")), description="![mine](figures/mine.png)")
    report(again, tmp_path)
    left = {path.name for path in figures.iterdir()}
    assert {"heldout.nll_assistant.png", "new.png", "new.csv", "mine.png", "old copy.png"} <= left
    assert {"old.svg", "old.png.bak"} <= left and not left & {"old.png", "old.csv"}
    report(small_sweep(plot=None), tmp_path)
    assert {path.name for path in figures.iterdir()} >= {"old copy.png", "old.svg", "old.png.bak"}
