"""Figures that can be read alone: axes of what can be, bars inside, a legend beside, words that are true."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from im_jax.sweeps.chart import Chart, Line, Panel, Point
from im_jax.sweeps.definition import ANY_NUMBER, NOT_NEGATIVE, SHARE, Bounds, Scale
from im_jax.sweeps.figures import draw, figure_of


def chart(means: dict[str, float], sd: float | None = 0.1, n: int = 3, **changes: Any) -> Chart:
    """One line through these means."""
    points = [Point(x, x, n, mean, sd) for x, mean in means.items()]
    panel = Panel({}, {"im": Line("im", "im", False, points)})
    fields = {
        "name": "accuracy",
        "title": "A title",
        "x": "rules",
        "x_scale": Scale.LINEAR,
        "labels": list(means),
        "ordered": False,
        "y": "accuracy",
        "bounds": SHARE,
        "legend": "policy",
        "series": ["im"],
        "panels": [panel],
    }
    return Chart(**(fields | changes))


def drawn(figure: Figure) -> Figure:
    """After its parts have got their places."""
    figure.draw_without_rendering()
    return figure


def bars(figure: Figure) -> np.ndarray:
    """Ends of all bars, `[bars, 2]`."""
    segments = [s for ax in figure.axes for c in ax.containers for part in c[2] for s in part.get_segments()]
    return np.array(segments)[:, :, 1]


def test_axis_and_bars_of_a_share_end_where_it_does() -> None:
    figure = drawn(figure_of(chart({"1": 0.0, "2": 0.5, "3": 1.0})))
    assert figure.axes[0].get_ylim() == (0, 1)
    np.testing.assert_allclose(bars(figure), [[0, 0.1], [0.4, 0.6], [0.9, 1]])


@pytest.mark.parametrize("bounds", [ANY_NUMBER, NOT_NEGATIVE, SHARE])
@pytest.mark.parametrize("means", [(0.01, 3.0), (-5.0, -2.0), (0.0, 0.0), (1e9, 1e9), (2.0, 2.5)])
def test_every_number_and_its_bar_is_inside_whatever_was_promised(
    bounds: Bounds, means: tuple[float, float]
) -> None:
    figure = drawn(figure_of(chart(dict(zip("12", means, strict=True)), bounds=bounds)))
    low, high = figure.axes[0].get_ylim()
    assert low < high
    assert low <= min(*means, *bars(figure).ravel()) and max(*means, *bars(figure).ravel()) <= high
    if min(means) >= bounds[0]:
        assert low >= bounds[0]


@pytest.mark.parametrize(
    ("means", "sd", "n", "bounds", "caption"),
    [
        ((0.5, 0.6), 0.1, 3, SHARE, "Mean of 3 seeds; bars: one standard deviation over seeds (n - 1) to each side."),
        ((0.0, 0.6), 0.1, 3, SHARE, "Mean of 3 seeds; bars: one standard deviation over seeds (n - 1) to each side, cut to what is possible (0 to 1)."),
        ((0.0, 0.6), 0.1, 2, NOT_NEGATIVE, "Mean of 2 seeds; bars: one standard deviation over seeds (n - 1) to each side, cut to what is possible (0 or more)."),
        ((0.0, 0.6), 0.1, 3, ANY_NUMBER, "Mean of 3 seeds; bars: one standard deviation over seeds (n - 1) to each side."),
        ((0.0, 0.6), None, 1, SHARE, "One seed, so there are no bars."),
    ],
)  # fmt: skip
def test_caption_says_what_is_drawn(
    means: tuple[float, float], sd: float | None, n: int, bounds: Bounds, caption: str
) -> None:
    figure = figure_of(chart(dict(zip("12", means, strict=True)), sd, n, bounds=bounds))
    assert " ".join(figure.get_supxlabel().split()) == caption
    assert figure.get_suptitle() == "A title"
    assert len(bars(figure)) == (2 if sd else 0) if sd else not figure.axes[0].containers[0][2]


def test_caption_counts_the_seeds_that_finished() -> None:
    few = chart({"1": 0.5}, None, 1).panels[0].lines
    many = chart({"1": 0.6}, 0.1, 3).panels[0].lines
    panels = [Panel({"rate": "1"}, {"im": few[0]}), Panel({"rate": "2"}, {"im": many[0]})]
    assert chart({"1": 0.5}, panels=panels).caption().startswith("Mean of 1 to 3 seeds; bars: ")


def names(count: int) -> dict[str, Line]:
    points = {"10": 0.2, "20": 0.9, "30": 0.4}
    titles = [f"policy={at}, with a name that is far too long for one line" for at in range(count)]
    return {t: Line(t, t, False, [Point(x, x, 3, y, 0.1) for x, y in points.items()]) for t in titles}


@pytest.mark.parametrize(("panels", "lines"), [(1, 2), (2, 12), (4, 3), (7, 1)])
def test_nothing_is_drawn_over_anything_else(panels: int, lines: int) -> None:
    wide = chart(
        {"10": 0.2, "20": 0.9, "30": 0.4},
        title="A title that goes on and on, and has to be broken, as no figure is so wide that it has room",
        y="a share of something with a long name (higher is better)",
        series=list(names(lines)),
        panels=[Panel({"rate": str(at)}, names(lines)) for at in range(panels)],
    )
    figure = drawn(figure_of(wide))
    (legend,) = figure.legends
    title, caption = figure._suptitle, figure._supxlabel  # type: ignore[attr-defined]
    parts = [legend, title, caption, *figure.axes]
    boxes = [part.get_tightbbox() if part in figure.axes else part.get_window_extent() for part in parts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    width, height = figure.bbox.size
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    assert len(legend.get_texts()) == lines, "each line once for all panels"


def ticks(figure: Figure) -> list[tuple[float, str]]:
    labels = figure.axes[0].get_xticklabels()
    return [(label.get_position()[0], label.get_text()) for label in labels]


def test_groups_are_named_at_their_places_and_joined_where_they_have_an_order() -> None:
    groups = {"4": 0.5, "5-6": 0.4, "7-9": 0.2, "10 or more": 0.1}
    figure = drawn(figure_of(chart(groups, ordered=True)))
    assert [text.replace("\n", " ") for _, text in ticks(figure)] == list(groups)
    assert [place for place, _ in ticks(figure)] == [0, 1, 2, 3]
    assert figure.axes[0].containers[0][0].get_linestyle() == "-"
    apart = figure_of(chart(groups)).axes[0].containers[0][0]
    assert apart.get_linestyle() == "None"


@pytest.mark.parametrize("scale", [Scale.LINEAR, Scale.LOG])
@pytest.mark.parametrize(
    "labels",
    [
        ["100", "300", "400", "500", "600", "1000", "10000"],
        ["a name of one point", "the name of another point", "a third", "x"],
        ["repeated,periodic,mirrored" * 2, "repeated"],
    ],
)
def test_labels_of_the_x_axis_do_not_run_into_each_other(labels: list[str], scale: Scale) -> None:
    figure = drawn(figure_of(chart(dict.fromkeys(labels, 0.5), x_scale=scale)))
    shown = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    texts = ["".join(label.get_text().split()) for label in shown]
    assert (texts[0], texts[-1]) == ("".join(labels[0].split()), labels[-1])
    if not any(label.get_rotation() for label in shown):
        boxes = [label.get_window_extent() for label in shown]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert len(figure.axes[0].get_xticks()) == len(labels), "a tick for each, with a label or without"


@pytest.mark.parametrize("text", ["$x_1$ and $\\frac", "_hidden", "a\nb\x1b[31m", r"\$5", "x % y #"])
def test_texts_are_drawn_as_they_are(text: str, tmp_path: Path) -> None:
    line = Line(text, text, False, [Point(text, text, 2, 0.5, 0.1)])
    nasty = chart(
        {text: 0.5}, title=text, y=text, x=text, legend=text, series=[text], panels=[Panel({}, {text: line})]
    )
    figure = drawn(figure_of(nasty))
    (legend,) = figure.legends
    ax = figure.axes[0]
    wanted = " ".join(text.split()).replace("\x1b", r"\x1b")
    for part in (
        legend.get_texts()[0],
        legend.get_title(),
        ax.xaxis.label,
        ax.yaxis.label,
        ax.get_xticklabels()[0],
    ):
        seen, mathematics = part._preprocess_math(part.get_text())
        assert (seen, mathematics) == (wanted, False)
    assert draw(nasty, tmp_path) is not None


def test_letters_that_one_font_lacks_are_left_to_those_that_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = ["Noto Sans CJK SC", "DejaVu Sans", "Something Else"]
    monkeypatch.setattr(font_manager, "get_font_names", lambda: installed)
    for title, fonts in (("plain", ["DejaVu Sans"]), ("中文", ["DejaVu Sans", "Noto Sans CJK SC"])):
        assert figure_of(chart({"1": 0.5}, title=title)).axes[0].xaxis.label.get_fontfamily() == fonts


def test_the_same_numbers_make_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert draw(chart({"1": 0.25, "2": 0.5}), tmp_path / name) == tmp_path / name / "accuracy.png"
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two and one.keys() == {"accuracy.png", "accuracy.pdf", "accuracy.csv"}
