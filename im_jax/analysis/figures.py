"""Figures of an analysis: losses of examples, losses by class and epoch, and gradients by layer."""

import io
import math
import pathlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from im_jax.analysis.losses import OUTPUT
from im_jax.analysis.suite import SETS, RunResult
from im_jax.evaluation.measures import class_metrics
from im_jax.files import write_whole

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's, which all readers can tell apart."""
_LINES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v")
_CLASSES: Final = ("system", "user", "assistant", "stop")
_STYLE: Final[Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "im_jax",
    "svg.fonttype": "path",
}


class Drawn(NamedTuple):
    """A figure that was written."""

    file: str
    """Of the PNG."""
    caption: str
    svg: str


def draw_all(folder: pathlib.Path, results: Sequence[RunResult]) -> list[Drawn]:
    """Draw what there is, as PNG and SVG. Raises `StorageError` where a file cannot be written."""
    names = [pathlib.Path(result.run.name).name or result.run.name for result in results]
    labels = [
        name if name == result.policy else f"{name} ({result.policy})"
        for name, result in zip(names, results, strict=True)
    ]
    drawn = []
    with matplotlib.rc_context(_STYLE):
        caption = "Mean loss on output tokens of each example; lines stand at the means."
        drawn.append(_written(folder, "losses", _losses(results, labels), caption))
        if any(len(result.steps) > 1 for result in results):
            caption = "NLL by token class and epoch; filled: training, open: held out."
            drawn.append(_written(folder, "classes", _classes(results, labels), caption))
        if any(result.gradients for result in results):
            caption = "Gradients of instruction and of output tokens: cosine and norms by layer."
            drawn.append(_written(folder, "gradients", _gradients(results, labels), caption))
    return drawn


def _written(folder: pathlib.Path, name: str, figure: Figure, caption: str) -> Drawn:
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=200)
    figure.savefig(svg, format="svg", metadata={"Date": None})  # the same numbers make the same file
    write_whole(folder / f"{name}.png", png.getvalue())
    write_whole(folder / f"{name}.svg", svg.getvalue())
    return Drawn(f"{name}.png", caption, svg.getvalue())


def _losses(results: Sequence[RunResult], labels: Sequence[str]) -> Figure:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for ax, of, title in zip(figure.subplots(1, 2), SETS, ("Training", "Held out"), strict=True):
        values = [result.newest.of(of).means(OUTPUT) for result in results]
        values = [each[~np.isnan(each)] for each in values]
        known = np.concatenate(values)
        edges = np.linspace(0, max(float(known.max(initial=0)), 1e-3), 25)
        for at, (each, label) in enumerate(zip(values, labels, strict=True)):
            colour, line = _COLOURS[at % len(_COLOURS)], _LINES[at % len(_LINES)]
            ax.hist(each, edges, histtype="stepfilled", color=colour, alpha=0.25)
            mean = f"{label}: {each.mean():.2f}" if len(each) else label
            ax.hist(each, edges, histtype="step", color=colour, linestyle=line, linewidth=1.6, label=mean)
            if len(each):
                ax.axvline(each.mean(), color=colour, linestyle=line, linewidth=1)
        ax.set(title=title, xlabel="loss on outputs (nats)", ylabel="examples")
        ax.legend(frameon=False, title="mean")
    return figure


def _classes(results: Sequence[RunResult], labels: Sequence[str]) -> Figure:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, len(_CLASSES), sharex=True)
    for at, (result, label) in enumerate(zip(results, labels, strict=True)):
        colour, line = _COLOURS[at % len(_COLOURS)], _LINES[at % len(_LINES)]
        epochs = [each.epoch for each in result.steps]
        for of in SETS:
            found = [class_metrics(each.of(of).sums()) for each in result.steps]
            for ax, name in zip(axes, _CLASSES, strict=True):
                ax.plot(
                    epochs,
                    [entry.get(f"nll/{name}", math.nan) for entry in found],
                    color=colour,
                    linestyle=line,
                    marker=_MARKERS[at % len(_MARKERS)],
                    markerfacecolor=colour if of == "train" else "white",
                    label=f"{label}, {'training' if of == 'train' else 'held out'}",
                )
    for ax, name in zip(axes, _CLASSES, strict=True):
        ax.set(title=name, xlabel="epoch", ylim=(0, None))
    axes[0].set_ylabel("NLL (nats)")
    handles, titles = axes[0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _gradients(results: Sequence[RunResult], labels: Sequence[str]) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for at, (result, label) in enumerate(zip(results, labels, strict=True)):
        if result.gradients is None:
            continue
        found = result.gradients
        layers = [name for name in found.cosine if name.startswith("layer ")]
        style: Any = {"color": _COLOURS[at % len(_COLOURS)], "marker": _MARKERS[at % len(_MARKERS)]}
        places = range(len(layers))
        left.plot(places, [found.cosine[n] for n in layers], **style, label=label, ls=_LINES[at % 4])
        for group, line in (("instruction", "-"), ("output", "--")):
            norms = [found.norms[group][n] or math.nan for n in layers]
            right.plot(places, norms, **style, label=f"{label}, {group}", ls=line)
    left.axhline(0, color="0.6", linewidth=1)
    left.set(title="Cosine of instruction and output", xlabel="layer", ylim=(-1.05, 1.05))
    right.set(title="Norm", xlabel="layer", yscale="log")
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False, fontsize="small")
    return figure
