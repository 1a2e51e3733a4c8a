"""The report as lines for a terminal, 80 columns wide or 40, or any other."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from im_jax.data.report import fits, numbers
from im_jax.data.report.build import Report
from im_jax.data.report.counts import Counts, edges_for
from im_jax.data.report.numbers import MEASURED, number, ratio, share
from im_jax.text import counted, in_one_line

NARROW: Final = 70
"""Columns below which tables become lists, and histograms stand one below the other."""
BLOCK: Final = "█"
_EIGHTHS: Final = "▏▎▍▌▋▊▉"
_COARSE: Final = (10, 20, 50)
_NO_BREAK: Final = "\u00a0"
_SHOWN: Final = 5
"""Malformed records that are named."""


class Line(NamedTuple):
    """A line, and whether it opens a section."""

    text: str
    heading: bool = False


def to_lines(report: Report, width: int = 80, bar: str = BLOCK) -> Iterator[Line]:
    """All lines. `bar`: what bars are made of."""
    wrapped = _Wrapped(width)
    yield Line(in_one_line(report.title), heading=True)
    yield from wrapped(
        f"{counted(report.counts.total, 'record')}, {report.readable:,} readable, {report.counts.kept:,} "
        f"kept. Template {in_one_line(report.template)}, tokenizer {in_one_line(report.tokenizer)}, "
        f"max_length {report.max_length:,} ({report.truncation}), policy {report.policies[0].name}."
    )
    for finding in numbers.findings(report):
        yield from wrapped(finding, "- ")
    yield from _section("Lengths", _lengths(report, width), wrapped(numbers.COUNTED))
    yield from _section("Ratio of instruction to output", _ratios(report, width))
    yield from _section("How long they are", _histograms(report, width, bar))
    yield from _section("What carries loss, in tokens", _classes(report, width))
    yield from _section("Against max_length", _fates(report, width), _against(report, width, bar))
    if report.sources:
        yield from _section("By source, words in the mean", _sources(report, width))
    yield from _section("The same twice", _same(report, width))
    yield from _section("On the paper's fits", _places(report, width))
    if report.counts.skipped:
        yield from _section("Malformed", _malformed(report, width))


class _Wrapped:
    """Text in lines of a width."""

    def __init__(self, width: int) -> None:
        self._width = width

    def __call__(self, text: str, first: str = "") -> list[Line]:
        lines = textwrap.wrap(
            text,
            self._width,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_on_hyphens=False,
        )
        return [Line(line.replace(_NO_BREAK, " ")) for line in lines]


def _section(title: str, *parts: Iterable[Line]) -> Iterator[Line]:
    yield Line("")
    yield Line(title, heading=True)
    for part in parts:
        yield from part


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[Line]:
    """Columns, the first to the left; where they do not fit, each row is a name with its cells below it."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        for row in [header, *rows] if any(header) else rows:
            cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            yield Line("  ".join(cells).rstrip())
        return
    wrapped = _Wrapped(width)
    for row in rows:
        yield from wrapped(row[0].strip())
        cells = [f"{name} {cell}".strip() for name, cell in zip(header[1:], row[1:], strict=True)]
        yield from wrapped(", ".join(cell.replace(" ", _NO_BREAK) for cell in cells), "  ")


def _lengths(report: Report, width: int) -> Iterator[Line]:
    rows = [[title, *numbers.length_row(getattr(report.measured, name))] for name, title in MEASURED.items()]
    yield from table(["", "mean", "sd", "median", "95 %", "longest"], rows, width)


def _ratios(report: Report, width: int) -> Iterator[Line]:
    found = [report.measured.ratio_in_words, report.measured.ratio_in_tokens]
    rows = [
        ["instruction / output", *(ratio(value) for value in found)],
        ["output / instruction", *(ratio(numbers.inverse(value)) for value in found)],
    ]
    yield from table(["", "words", "tokens"], rows, width)


def _histograms(report: Report, width: int, bar: str) -> Iterator[Line]:
    instruction, output = report.measured.instruction_words, report.measured.output_words
    edges = edges_for([instruction, output], _COARSE)
    if width >= NARROW:
        half = (width - 2) // 2
        pairs = zip(
            bars("instruction, words", instruction, edges, half, bar),
            bars("output, words", output, edges, half, bar),
            strict=True,
        )
        yield from (Line(f"{left:<{half}}  {right}".rstrip()) for left, right in pairs)
        return
    yield from map(Line, bars("instruction, words", instruction, edges, width, bar))
    yield from map(Line, bars("output, words", output, edges, width, bar))


def bars(title: str, counts: Counts, edges: Sequence[int], width: int, bar: str) -> list[str]:
    """A title, and a line for each bin with its bar and share."""
    found = counts.histogram(edges)
    names = [bin_name(low, high) for low, high in itertools.pairwise(edges)]
    shares = [share(count, len(counts)) for count in found]
    name_width, share_width = max(map(len, names)), max(map(len, shares))
    room = width - name_width - share_width - 2
    most = max(found) or 1
    lines = [title]
    for name, count, percent in zip(names, found, shares, strict=True):
        lines.append(
            f"{name:>{name_width}} {_bar(room * count / most, bar):<{room}} {percent:>{share_width}}"
        )
    return lines


def _bar(length: float, bar: str) -> str:
    """To an eighth of a column where the bar is a block; never none of what is there."""
    if bar != BLOCK:
        return bar * max(round(length), length > 0)
    eighths = max(round(8 * length), length > 0)
    return BLOCK * (eighths // 8) + ("", *_EIGHTHS)[eighths % 8]


def bin_name(low: int, high: int) -> str:
    """`10-19`, or `3` where a bin has one number."""
    return f"{low:,}" if high == low + 1 else f"{low:,}-{high - 1:,}"


def _classes(report: Report, width: int) -> Iterator[Line]:
    everything = int(report.measured.tokens.sum())
    rows = [
        [
            row.name,
            number(row.tokens),
            share(row.tokens, everything),
            *(share(count, row.tokens) if count else "0" for count in row.trained),
        ]
        for row in numbers.class_rows(report)
    ]
    trained = [percent for _, _, percent in numbers.trained_by(report, report.measured)]
    rows.append(["all", number(everything), "100.0 %", *trained])
    yield from table(["", "tokens", "share", *(f"by {p.name}" for p in report.policies)], rows, width)


def _fates(report: Report, width: int) -> Iterator[Line]:
    total = report.counts.total
    rows = [[words, number(count), share(count, total)] for _, words, count in numbers.fates(report)]
    above = report.too_long
    rows.append([f"above {report.max_length:,} tokens", number(above), share(above, report.readable)])
    yield from table(["", "records", "share"], rows, width)


def _against(report: Report, width: int, bar: str) -> Iterator[Line]:
    lengths = report.measured.full_length
    edges = edges_for([lengths], _COARSE, split=report.max_length + 1)
    yield from map(Line, bars("example, tokens", lengths, edges, width, bar))


def _same(report: Report, width: int) -> Iterator[Line]:
    rows = [[words, number(count)] for words, count in numbers.same_rows(report)]
    yield from table(["", ""], rows, width)


def _sources(report: Report, width: int) -> Iterator[Line]:
    yield from table(numbers.SOURCE_HEADER, numbers.source_rows(report), width)


def _places(report: Report, width: int) -> Iterator[Line]:
    wrapped = _Wrapped(width)
    yield from wrapped(f"{fits.GAIN}. {fits.LABEL}.")
    for place in report.places():
        fit = place.fit
        sign = "+" if fit.intercept >= 0 else "-"
        formula = f"{fit.slope:g} ln(x) {sign} {abs(fit.intercept):g}"
        said = f"By {fit.name}, x = {place.x_text}: {formula} = {place.gain:.0f} %. {place.reading}"
        yield from wrapped(said, "- ")


def _malformed(report: Report, width: int) -> Iterator[Line]:
    messages = report.counts.skipped[:_SHOWN]
    for message in messages:
        yield from _Wrapped(width)(in_one_line(message), "- ")
    if left := report.counts.malformed - len(messages):
        yield Line(f"... and {left:,} more")
