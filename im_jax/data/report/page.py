"""The report as a page that needs nothing else, with figures."""

from collections.abc import Iterable, Sequence
from typing import Final

from im_jax.data.report import fits, numbers
from im_jax.data.report.build import Report
from im_jax.data.report.counts import edges_for
from im_jax.data.report.figures import Curve, Dot, Mark, curve, histogram, stacked
from im_jax.data.report.numbers import MEASURED, half, number, ratio, share
from im_jax.data.report.style import STYLE
from im_jax.text import as_html, counted
from im_jax.token_classes import MAIN_CLASSES, TokenClass

_SHOWN: Final = 20
"""Malformed records that are named."""
_SIDES: Final = {"Alpaca 5k": "above", "Dolly 3k": "below", "BBH ICL": "below", "MMLU Chat": "left"}


def to_html(report: Report) -> str:
    """The page."""
    title = as_html(report.title)
    body = "\n".join(
        f"<section>{part}</section>"
        for part in (
            _head(report),
            _lengths(report),
            _classes(report),
            _against(report),
            _sources(report),
            _same(report),
            _fits(report),
            _malformed(report),
        )
        if part
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Data report: {title}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], parts: Sequence[int] = (), total: bool = False
) -> str:
    """A table of cells that are HTML already; rows of `parts` are set in, and the last may be of all."""
    each = list(rows)
    lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in header)}</tr>"] if any(header) else []
    for at, row in enumerate(each):
        first = f'<td class="part">{row[0]}</td>' if at in parts else f"<td>{row[0]}</td>"
        style = ' class="all"' if total and at == len(each) - 1 else ""
        lines.append(f"<tr{style}>{first}{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _head(report: Report) -> str:
    measured, counts = report.measured, report.counts
    trained = "".join(
        _tile(percent, f"of the tokens carry loss under {as_html(name)}")
        for name, _, percent in numbers.trained_by(report, measured)
    )
    above = f"longer than max_length {report.max_length:,}"
    used = "examples" if not report.unused else "examples used"
    tiles = (
        _tile(f"{counts.kept - report.unused:,}", f"{used} of {counted(counts.total, 'record')}")
        + _tile(ratio(measured.ratio_in_words), "instruction / output, mean words")
        + trained
        + _tile(share(report.too_long, report.readable), above)
    )
    found = "".join(f"<li>{as_html(finding)}</li>" for finding in numbers.findings(report))
    return (
        f"<h1>{as_html(report.title).replace('/', '/<wbr>')}</h1>"
        f'<p class="quiet">Template <code>{as_html(report.template)}</code>, tokenizer '
        f"<code>{as_html(report.tokenizer)}</code>, max_length {report.max_length:,} "
        f"({as_html(report.truncation)}), policy <code>{as_html(report.policies[0].name)}</code></p>"
        f'<div class="tiles">{tiles}</div><ul class="findings">{found}</ul>'
    )


def _tile(value: str, words: str) -> str:
    return f"<div><b>{value}</b><span>{words}</span></div>"


def _lengths(report: Report) -> str:
    measured = report.measured
    instruction, output = measured.instruction_words, measured.output_words
    edges = edges_for([instruction, output])
    figures = "".join(
        f"<h3>{name}</h3>"
        + histogram(
            counts,
            edges,
            "words",
            style=style,
            marks=[Mark(f"median {half(counts.median)}", counts.median or 0)],
        )
        for name, counts, style in (("Instruction", instruction, "user"), ("Output", output, "assistant"))
    )
    rows = [[title, *numbers.length_row(getattr(measured, name))] for name, title in MEASURED.items()]
    found = [measured.ratio_in_words, measured.ratio_in_tokens]
    ratios = [
        ["instruction / output", *(ratio(value) for value in found)],
        ["output / instruction", *(ratio(numbers.inverse(value)) for value in found)],
    ]
    return (
        "<h2>Lengths</h2>"
        f'{figures}<p class="x">words; bars grow by about a quarter from one to the next</p>'
        f'<div class="tables">{table(["", "mean", "sd", "median", "95 %", "longest"], rows)}'
        f"{table(['ratio of means', 'words', 'tokens'], ratios)}</div>"
        f'<p class="quiet">{as_html(numbers.COUNTED)}</p>'
    )


def _classes(report: Report) -> str:
    everything = int(report.measured.tokens.sum()) or 1
    rows, parts = [], []
    found = list(numbers.class_rows(report))
    for at, row in enumerate(found):
        chip = f'<span class="chip {row.token_class.main.label}"></span>'
        trained = (share(count, row.tokens) if count else "0" for count in row.trained)
        rows.append(
            [
                f"{'' if row.part else chip}{row.name.strip()}",
                number(row.tokens),
                share(row.tokens, everything),
                *trained,
            ]
        )
        parts += [at] if row.part else []
    whole = [percent for _, _, percent in numbers.trained_by(report, report.measured)]
    rows.append(["all", number(everything), "100.0 %", *whole])
    mains = [row for row in found if not row.part]
    bars = [
        stacked(
            [
                (r.token_class.label, _tip(r, r.tokens, everything), 100 * r.tokens / everything)
                for r in mains
            ],
            "all tokens",
        )
    ]
    for index, policy in enumerate(report.policies):
        pieces = []
        for r in mains:
            on = r.trained[index]
            pieces.append(
                (
                    r.token_class.label,
                    _tip(r, on, everything) + f" trained by {policy.name}",
                    100 * on / everything,
                )
            )
            pieces.append(
                (
                    f"{r.token_class.label} off",
                    _tip(r, r.tokens - on, everything) + " without loss",
                    100 * (r.tokens - on) / everything,
                )
            )
        bars.append(stacked(pieces, f"loss by {policy.name}"))
    header = ["class", "tokens", "share", *(f"by {as_html(policy.name)}" for policy in report.policies)]
    return f"<h2>What carries loss</h2>{''.join(bars)}{table(header, rows, parts, total=True)}"


def _tip(row: numbers.ClassRow, tokens: int, everything: int) -> str:
    return f"{row.token_class.label}: {counted(tokens, 'token')}, {share(tokens, everything)}"


def _against(report: Report) -> str:
    lengths, limit = report.measured.full_length, report.max_length
    edges = edges_for([lengths], split=limit + 1)
    inside = edges[0] <= limit < edges[-1] - 1
    marks = [Mark(f"max_length {limit:,}", limit + 0.5, "limit")] if inside else []
    total = report.counts.total
    rows = [[words, number(count), share(count, total)] for _, words, count in numbers.fates(report)]
    said = (
        "" if inside else f" None is as long as max_length, {limit:,}." if lengths.above(limit) == 0 else ""
    )
    return (
        "<h2>Lengths against max_length</h2>"
        + histogram(lengths, edges, "tokens", style="whole", marks=marks, beyond=limit)
        + f'<p class="x">tokens of an example before truncation.{said}</p>'
        + table(["", "records", "share"], rows)
    )


def _sources(report: Report) -> str:
    if not report.sources:
        return ""
    rows = [[as_html(cell) for cell in row] for row in numbers.source_rows(report)]
    top = max(report.sources.values(), key=lambda m: int(m.tokens.sum())).tokens.sum() or 1
    bars = []
    for name, m in report.sources.items():
        pieces = []
        for c in MAIN_CLASSES:
            tokens = sum(int(m.tokens[part]) for part in TokenClass if part.main is c)
            tip = f"{name}, {c.label}: {counted(tokens, 'token')}, {share(tokens, int(m.tokens.sum()))}"
            pieces.append((c.label, tip, 100 * tokens / top))
        bars.append(stacked(pieces, name))
    return (
        "<h2>By source</h2>"
        f'{"".join(bars)}<p class="x">tokens by class, colours as above</p>'
        f"{table(numbers.SOURCE_HEADER, rows)}"
        '<p class="quiet">Words in the mean; too long: more tokens than max_length.</p>'
    )


def _same(report: Report) -> str:
    rows, parts = [], []
    for at, (words, count) in enumerate(numbers.same_rows(report)):
        parts += [at] if words.startswith(" ") else []
        rows.append([as_html(words.strip()), number(count)])
    said = "Case and white space aside, and the first of several is not counted."
    return f'<h2>The same twice</h2>{table(["", ""], rows, parts)}<p class="quiet">{said}</p>'


def _fits(report: Report) -> str:
    figures = []
    for place in report.places():
        fit = place.fit
        dots = [
            Dot(p.name, p.ratio, p.gain, "paper", _SIDES.get(p.name, "above"))
            for p in fits.PUBLISHED
            if fit is fits.RATIO
        ]
        usable = "" if not place.extrapolated else " not"
        dots.append(Dot("this set", place.x, place.gain, f"ours{usable}", "marked"))
        drawn = curve(Curve(fit.slope, fit.intercept, fit.fitted), dots, fit.name, fits.GAIN)
        said = f"{place.gain:.0f} % at {place.x_text}. {place.reading}"
        figures.append(f'<div>{drawn}<p class="quiet">{as_html(said)}</p></div>')
    if not figures:
        return ""
    return (
        f"<h2>On the paper's fits</h2><p>{as_html(fits.LABEL)}. Grey: where it was fitted; dashed: "
        "extrapolated. Circles: the paper's own training sets by its tables; some are tens of per cent off "
        f'the line.</p><div class="pair">{"".join(figures)}</div>'
    )


def _malformed(report: Report) -> str:
    messages = report.counts.skipped
    if not messages:
        return ""
    items = "".join(f"<li>{as_html(message)}</li>" for message in messages[:_SHOWN])
    left = report.counts.malformed - len(messages[:_SHOWN])
    more = f"<p>... and {left:,} more</p>" if left else ""
    return f"<h2>Malformed</h2><ul>{items}</ul>{more}"
