"""A report as one HTML page that needs nothing else: its Markdown, with the figures inside."""

import base64
import html
import pathlib
from typing import Any

from markdown_it import MarkdownIt

from im_jax.analysis.page import STYLE


def to_html(markdown: str, title: str, folder: pathlib.Path) -> str:
    """The page of a report.

    Args:
        markdown: the report; HTML in it is kept, as the sweep's own file may have written it.
        title: of the page, as plain text.
        folder: where the PNG files lie that it shows.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens: Any = parser.parse(markdown)
    for token in tokens:
        for child in token.children or ():
            if child.type == "image" and (path := folder / child.attrs["src"]).is_file():
                child.attrs["src"] = _inside(path)
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    body = body.replace(" ± ", "&nbsp;±&nbsp;")  # a mean and its spread are one number, in one line
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _inside(path: pathlib.Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
