"""What a benchmark prints: where and with what it ran, and a table or JSON for each case."""

import dataclasses
import datetime
import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from im_jax import hardware
from im_jax.bench.case import Case
from im_jax.bench.methods import BASELINES
from im_jax.bench.rounds import Measurement, Outcome
from im_jax.bench.statistics import Row, matmul_rate, rows

_DIFFERENCE: Final = {
    "cross_entropy": "loss, gradients",
    "attention": "difference",
    "train_step": "losses",
    "lora": "losses",
    "rewrites train": "losses",
    "rewrites evaluate": "answers",
    "prepare": "counts",
    "likelihood": "scores",
    "generate": "answers",
}
_UNITS: Final = {
    "train_step": "tokens",
    "lora": "tokens",
    "rewrites": "sequences",
    "prepare": "tokens",
    "likelihood": "requests",
    "generate": "tokens",
}
"""What is counted by second; where nothing stands, only operations count."""
MEANINGS: Final = """\
median, p10, p90: milliseconds of a call over the rounds; in each round every method is called once, in turn.
    Of rewrites, a call is several steps or batches where they are short; the milliseconds are of one.
vs BASELINE: its time by this one's (above 1: faster): the median over rounds, and the ratio of the medians.
TFLOP/s: operations that the result needs by the time; for a matrix product, its own. A training step counts
    the head for all tokens, so what skips those without loss can pass 100 % of the matrix product.
of matmul: of the rate of the matrix product named above the table, measured in the same rounds.
temporary, output: MB by JAX's compiler. growth: MB of resident memory at the peak of a call above before it,
    on a GPU of torch's own memory there; near nothing where an allocator keeps what it once had.
loss, gradients, difference: largest relative difference from the same in float64 NumPy; losses: that of the
    first steps from the baseline's; answers: of their tokens, 0 where all are the same; counts: of examples,
    tokens and packed rows, from the baseline's; scores: of log-likelihoods and of what is greedy, likewise.
with_data: the batches, or the prompts, are made in the same time."""


def header(command: str, rounds: int) -> dict[str, Any]:
    """Facts about this run and machine."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "cpu": hardware.processor(),
        "cores": hardware.cores(),
        "python": platform.python_version(),
        "rounds": rounds,
    }


def as_json(facts: dict[str, Any], measurements: Iterable[Measurement]) -> Iterator[str]:
    """Everything that was measured, by round."""
    cases = [_as_fields(measurement) for measurement in measurements]
    yield json.dumps({"header": facts, "cases": cases}, indent=2)


def as_text(facts: dict[str, Any], measurements: Iterable[Measurement]) -> Iterator[str]:
    """The facts, and a table in Markdown for each case as soon as there is one."""
    yield "\n".join(f"{name}: {value}" for name, value in facts.items())
    measured = []
    for measurement in measurements:
        measured.append(measurement)
        parts = ["", _case_title(measurement), _table(measurement), *_not_timed(measurement.outcomes)]
        yield "\n\n".join(parts)[1:]
    yield f"\n{_versions(measured)}\n\n{MEANINGS}"


def _as_fields(measurement: Measurement) -> dict[str, Any]:
    fields = dataclasses.asdict(measurement)
    fields["baseline"] = BASELINES[measurement.case.benchmark]
    fields["matmul"] = matmul_rate(measurement)
    fields["rows"] = {
        row.outcome.name: {
            **row.summary._asdict(),
            "rate": row.rate,
            "share_of_matmul": row.share,
            "differences": row.differences,
        }
        for row in rows(measurement)
    }
    return fields


def _versions(measurements: Sequence[Measurement]) -> str:
    """Devices and package versions, with the methods that had others than most."""
    found: dict[str, dict[str, list[str]]] = {}
    for outcome in (o for m in measurements for o in m.outcomes if o.status == "ready"):
        for name, version in {"device": outcome.device, **outcome.versions}.items():
            methods = found.setdefault(name, {}).setdefault(version, [])
            if outcome.name not in methods:
                methods.append(outcome.name)
    lines = []
    for name, versions in sorted(found.items()):
        most = max(versions, key=lambda version: len(versions[version]))
        others = [
            f"{version} ({', '.join(methods)})" for version, methods in versions.items() if version != most
        ]
        lines.append(f"{name}: {', '.join([most, *others])}")
    return "\n".join(lines)


def _case_title(measurement: Measurement) -> str:
    lines = [f"## {measurement.case.title}"]
    matmul = matmul_rate(measurement)
    if matmul:
        lines.append(f"{matmul[0]}: {matmul[1] / 1e12:.3g} TFLOP/s")
    lines.append("load average before and after: {:.1f}, {:.1f}".format(*measurement.load))
    return "\n\n".join(lines)


def _table(measurement: Measurement) -> str:
    baseline = BASELINES[measurement.case.benchmark]
    unit = _UNITS.get(measurement.case.benchmark, "")
    titles = ["method", "median", "p10", "p90", f"vs {baseline}", "of medians"]
    titles += [f"{unit}/s"] if unit else []
    titles += [
        "TFLOP/s",
        "of matmul",
        "temporary",
        "output",
        "growth",
        _difference(measurement.case),
    ]
    cells = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for row in rows(measurement):
        summary, memory = row.summary, row.outcome.memory
        is_matmul = "matmul_flops" in row.outcome.values
        line = [row.outcome.name, *(f"{1e3 * x:.4g}" for x in summary[:3])]
        line += [_number(summary.ratio, ".2f"), _number(summary.ratio_of_medians, ".2f")]
        if unit:
            line.append("" if is_matmul else f"{_amount(measurement.case, row.outcome) / summary.median:.0f}")
        line += [
            _number(row.rate and row.rate / 1e12, ".3g"),
            _number(row.share and 100 * row.share, ".0f", "%"),
        ]
        growth = memory.get("gpu", memory.get("resident"))
        line += [_megabytes(x) for x in (memory.get("temporary"), memory.get("output"), growth)]
        line.append(_differences(row))
        cells.append(line)
    widths = [max(len(line[i]) for line in cells) for i in range(len(titles))]
    return "\n".join(
        "| "
        + " | ".join(
            _padded(cell, width, i) for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    )


def _difference(case: Case) -> str:
    """What the last column is called."""
    return _DIFFERENCE.get(f"{case.benchmark} {case.work}") or _DIFFERENCE[case.benchmark]


def _amount(case: Case, outcome: Outcome) -> int:
    """How many of its unit a call processes."""
    match case.benchmark:
        case "train_step" | "lora":
            return case.shape[0] * case.shape[1]
        case "generate":
            return len(outcome.values["answers"])
        case "prepare":
            return int(outcome.values["tokens"])
        case "likelihood":
            return len(outcome.values["logprobs"])
        case _:
            return case.shape[0]


def _padded(cell: str, width: int, column: int) -> str:
    if cell.startswith("---"):
        return "-" * width if column == 0 else "-" * (width - 1) + ":"
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.0f}"


def _differences(row: Row) -> str:
    """The loss's difference, and the largest of the others."""
    others = [value for name, value in row.differences.items() if not name.startswith("loss")]
    losses = [value for name, value in row.differences.items() if name.startswith("loss")]
    return ", ".join(f"{max(values):.0e}" for values in (losses, others) if values)


def _not_timed(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [f"- {o.name}: {o.status}: {o.reason}" for o in outcomes if o.status != "ready"]
    return ["\n".join(lines)] if lines else []
