"""Writes an analysis into a folder."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from im_jax.analysis.figures import draw_all
from im_jax.analysis.markdown import to_markdown
from im_jax.analysis.measures import compared
from im_jax.analysis.page import to_html
from im_jax.analysis.record import as_record, examples_csv
from im_jax.analysis.suite import RunResult
from im_jax.files import write_whole, writing


def write_report(folder: pathlib.Path, results: Sequence[RunResult], about: dict[str, Any]) -> str:
    """Write all that was measured, and compare every other run with the first.

    Args:
        folder: is made if it is not there.
        results: of each run.
        about: what a reader should know of how it was measured.

    Returns:
        The report as Markdown, for a terminal.

    Raises:
        StorageError: a file cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    comparisons = [compared(results[0], other) for other in results[1:]]
    record = as_record(results, comparisons, about)
    figures = draw_all(folder, results)
    text = to_markdown(record)
    write_whole(folder / "results.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / "examples.csv", examples_csv(results))
    with_figures = to_markdown(record, [(figure.file, figure.caption) for figure in figures])
    write_whole(folder / "report.md", with_figures)
    write_whole(folder / "report.html", to_html(record, figures))
    return text
