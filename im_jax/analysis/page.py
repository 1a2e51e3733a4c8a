"""An analysis as one HTML page that needs nothing else."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from im_jax.analysis.figures import Drawn
from im_jax.analysis.markdown import sections

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2127; --paper: #fff; --line: #dfe3e8; --quiet: #626a75; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --paper: #14171b; --line: #333a43; --quiet: #9aa3af; } }
body { margin: 0 auto; padding: 2rem 1.2rem; max-width: 66rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h2 { font-size: 1.1rem; margin-top: 2.4rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th, figcaption { color: var(--quiet); font-weight: 500; }
figure { margin: 1.5rem 0; } svg, img { max-width: 100%; height: auto; background: #fff; }
"""
"""Of pages with tables and figures."""


def to_html(record: Mapping[str, Any], figures: Sequence[Drawn]) -> str:
    """The page of a record, with its figures inside."""
    parts = [
        f"<figure>{_only_svg(each.svg, str(at))}<figcaption>{html.escape(each.caption)}</figcaption></figure>"
        for at, each in enumerate(figures)
    ]
    notes = [f"{run['name']}: {note}" for run in record["runs"] for note in run["notes"]]
    parts += [f"<p>{html.escape(note)}</p>" for note in notes]
    for title, rows in sections(record):
        parts += [f"<h2>{html.escape(title)}</h2>", _table(rows)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>What the runs learned by heart</title><style>{STYLE}</style></head><body>"
        f"<h1>What the runs learned by heart</h1>{''.join(parts)}</body></html>\n"
    )


def _only_svg(text: str, name: str) -> str:
    """The figure without its XML head; names in it are its own, as several share the page."""
    inside = text[text.index("<svg") :]
    for before in ('id="', 'href="#', "url(#"):
        inside = inside.replace(before, f"{before}f{name}_")
    return inside


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    body = "".join(line(row, "td") for row in rows[1:])
    return f'<div class="scroll"><table>{line(rows[0], "th")}{body}</table></div>'
