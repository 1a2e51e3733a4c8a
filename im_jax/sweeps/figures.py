"""Figures of a sweep, as they can stand in a paper: a title, panels, a legend or colours, and a caption."""

import pathlib
from collections.abc import Sequence
from typing import Any, Final

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

from im_jax.files import write_whole, writing
from im_jax.sweeps import heat_map
from im_jax.sweeps.chart import Chart
from im_jax.sweeps.charts import file_name
from im_jax.sweeps.definition import Kind
from im_jax.sweeps.panels import LETTER, LINE, Drawn, draw_panel, shown
from im_jax.sweeps.tables import to_csv

PICTURES: Final = (".png", ".pdf")
ENDINGS: Final = (*PICTURES, ".csv")
"""The files of a figure."""

_MOST_IN_A_ROW: Final = 3
_WIDTH: Final = 5.2
_HEIGHT: Final = 3.6
"""Of a panel, in inches."""
_ROWS: Final = 1.2
_BELOW: Final = 0.8
"""Left of a heat map's fields and below them, for names and titles."""
_BAR: Final = 1.0
"""Width of the colours with their numbers and title."""
_LEGEND: Final = 30
"""Letters in a line of the legend."""
_FONTS: Final = (
    "DejaVu Sans",
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "PingFang SC"),
    *("Hiragino Sans", "Microsoft YaHei", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari"),
)
"""The first comes with matplotlib; letters that it lacks are left to those of the others that are there."""
_DOTS: Final = 200
"""An inch, of the PNG."""


def draw(chart: Chart, directory: pathlib.Path) -> pathlib.Path | None:
    """Draw a chart and write its numbers beside it. Returns the PNG; None if there is nothing to draw.

    Raises:
        StorageError: a file cannot be written.
    """
    if chart.is_empty():
        return None
    directory.mkdir(exist_ok=True)
    picture = directory / file_name(chart.name)
    figure = figure_of(chart)
    for ending in PICTURES:
        path = picture.with_name(picture.stem + ending)
        # Without a date, so that the same numbers make the same file.
        metadata = {"CreationDate": None} if ending == ".pdf" else None
        # Fonts of type 42 are outlines of letters, as publishers ask.
        with writing(path), matplotlib.rc_context({"pdf.fonttype": 42}):
            figure.savefig(path, dpi=_DOTS, metadata=metadata)
    write_whole(picture.with_name(picture.stem + ".csv"), _numbers(chart))
    return picture


def _numbers(chart: Chart) -> str:
    lines: list[list[object]] = [["panel", "line", "kind", "point", "x", "n", "mean", "sd"]]
    for panel in chart.panels:
        for line in panel.lines:
            kind = "reference" if line.reference else "measured"
            # None is an empty cell.
            lines += [[panel.title, line.title, kind, *point] for point in line.points]
    return to_csv(lines)


def figure_of(chart: Chart) -> Figure:
    """A figure of a chart, a panel beside the other."""
    rows = -(-len(chart.panels) // _MOST_IN_A_ROW)
    columns = -(-len(chart.panels) // rows)
    style: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.family": _fonts(chart)}
    with matplotlib.rc_context(style):
        # Without pyplot, which keeps figures, and a backend that may need a display, for the whole process.
        figure = Figure(layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for ax in axes[len(chart.panels) :]:
            ax.remove()
        axes = axes[: len(chart.panels)]
        draw_panels = _draw_fields if chart.kind is Kind.HEAT_MAP else _draw_lines
        (width, height), y, (beside, least) = draw_panels(figure, axes, chart)
        for at, (ax, panel) in enumerate(zip(axes, chart.panels, strict=True)):
            ax.set(
                title=shown(panel.title, width),
                xlabel=shown(chart.x, width),
                ylabel="" if at % columns else shown(y, height),
            )
        panels = width * columns
        width = panels + beside
        title, caption = shown(chart.title, panels, size="large"), shown(chart.caption(), panels)
        figure.suptitle(title, x=panels / 2 / width, fontsize="large")
        figure.supxlabel(caption, x=panels / 2 / width, fontsize="small", color="0.3")
        lines = len(title.splitlines()) + len(caption.splitlines())
        figure.set_size_inches(width, max(height * rows + LINE * lines, least))
    return figure


_Size = tuple[float, float]
"""Width and height in inches."""


def _draw_lines(figure: Figure, axes: Sequence[Any], chart: Chart) -> tuple[_Size, str, _Size]:
    """Lines, with a legend; returns a panel's size, the title of its y axis, and the legend's size."""
    drawn: Drawn = {}
    for ax, panel in zip(axes, chart.panels, strict=True):
        drawn = draw_panel(ax, chart, panel.lines, _WIDTH) | drawn
    return (_WIDTH, _HEIGHT), chart.y, _add_legend(figure, chart, drawn)


def _draw_fields(figure: Figure, axes: Sequence[Any], chart: Chart) -> tuple[_Size, str, _Size]:
    """A heat map, with its colours; returns a panel's size, the title of its y axis, and the bar's size."""
    width, height = heat_map.size(chart)
    width, height = max(width + _ROWS, _WIDTH), max(height + _BELOW, _HEIGHT)
    colours = heat_map.scale(chart)
    for ax, panel in zip(axes, chart.panels, strict=True):
        heat_map.draw_heat_map(ax, chart, panel.lines, colours)
    figure.colorbar(colours, ax=list(axes), label=shown(chart.y, height), pad=0.02)
    return (width, height), chart.legend, (_BAR, 0.0)


def _fonts(chart: Chart) -> list[str]:
    """Fonts that are tried for each letter, in order."""
    panels = [text for panel in chart.panels for text in (panel.title, *(line.title for line in panel.lines))]
    if "".join([chart.title, chart.x, chart.y, chart.legend, *chart.labels, *panels]).isascii():
        return list(_FONTS[:1])
    installed = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in installed]


def _add_legend(figure: Figure, chart: Chart, drawn: Drawn) -> tuple[float, float]:
    """One legend for all panels, at the right of them; returns its width and height in inches."""
    if not chart.legend and len(drawn) < 2:
        return 0.0, 0.0
    titles = [shown(title, _LEGEND * LETTER) for title in drawn]
    heading = shown(chart.legend, _LEGEND * LETTER)
    # The titles are given again, as matplotlib leaves out lines whose own begin with "_".
    figure.legend(
        list(drawn.values()), titles, title=heading or None, loc="outside right upper", frameon=False
    )
    lines = [line for text in [heading, *titles] for line in text.splitlines()]
    return 0.8 + LETTER * max(map(len, lines)), LINE * (len(lines) + len(titles) / 2)
