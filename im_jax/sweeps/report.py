"""report.md and report.html: what was run, on what, and what came out, so that it can be repeated."""

import datetime
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from im_jax.files import write_whole
from im_jax.sweeps import charts, comparisons, figures, settings, stopping, stopping_report, tables
from im_jax.sweeps.aggregation import Group, group, measured, pair
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.comparisons import picture
from im_jax.sweeps.definition import Sweep
from im_jax.sweeps.evaluated import errors, lacking, with_figures
from im_jax.sweeps.page import to_html
from im_jax.sweeps.results import Result, ResultsFile, Status
from im_jax.text import as_code, as_markdown, counted

_PICTURE: Final = re.compile(r"^!\[([\w.+-]+)\]\(figures/\1\.png\)$", re.MULTILINE)
"""How a report shows a figure of its own, on a line by itself."""


def write_report(
    sweep: Sweep, cells: Sequence[Cell], results: ResultsFile, workdir: pathlib.Path, command: str
) -> None:
    """Write WORKDIR/report.md, report.html, table.csv, runs.csv and figures/ from the rows that there are."""
    groups = group(cells, results, sweep.evaluations)
    pairs = pair(sweep, groups)
    rows = [
        with_figures(row, sweep.evaluations) for cell in cells if (row := results.get(cell.hash)) is not None
    ]
    write_whole(workdir / "table.csv", tables.as_csv(sweep, groups, pairs))
    write_whole(workdir / "runs.csv", tables.runs_csv(sweep, groups))
    sections = [
        f"# {as_markdown(sweep.title)}",
        sweep.description.strip(),
        _facts(sweep, cells, rows, results, command),
        "## Results",
        tables.means_table(sweep, groups),
        _meaning(sweep, rows),
        *comparisons.sections(sweep, pairs, workdir / "figures"),
        *stopping_report.sections(sweep, cells, results),
        *_pictures(sweep, groups, workdir / "figures"),
        *_profiles(sweep, groups, workdir / "figures"),
        *_failures(sweep, cells, results),
        "## Configuration",
        settings.axes_table(sweep),
        settings.shared_table(sweep),
    ]
    report = "\n\n".join(filter(None, sections)) + "\n"
    before = _shown(workdir / "report.md")
    write_whole(workdir / "report.md", report)
    write_whole(workdir / "report.html", to_html(report, sweep.title, workdir))
    _remove(before - set(_PICTURE.findall(report)), workdir / "figures")


def _shown(report: pathlib.Path) -> set[str]:
    """Names of the figures in a report that was written before."""
    if not report.is_file():
        return set()
    return set(_PICTURE.findall(report.read_text(encoding="utf-8", errors="replace")))


def _remove(names: set[str], directory: pathlib.Path) -> None:
    """Remove figures that a report has shown and shows no more, as after a measure got another name."""
    for name in names:
        for ending in figures.ENDINGS:
            (directory / f"{name}{ending}").unlink(missing_ok=True)


def _facts(
    sweep: Sweep, cells: Sequence[Cell], rows: Sequence[Result], results: ResultsFile, command: str
) -> str:
    finished = sum(row.status is Status.FINISHED for row in rows)
    unneeded = len(stopping.left_out(sweep, cells, results))
    out = f"{unneeded} left out as their comparisons are settled, " if unneeded else ""
    facts = {
        "Command": as_code(command),
        "Report written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Runs": f"{len(cells)}: {finished} finished, {len(rows) - finished} failed, "
        f"{out}{len(cells) - len(rows) - unneeded} not run yet",
        "Evaluations": "; ".join(_evaluated(name, rows, sweep) for name in sweep.evaluations),
        "Time": f"{sum(row.seconds for row in rows) / 60:.1f} minutes over all runs",
        "Hardware": as_markdown(_distinct(rows, _hardware)),
        "Versions": as_markdown(_distinct(rows, _versions)),
    }
    if len(results) > len(rows):
        facts["Left out"] = (
            f"{counted(len(results) - len(rows), 'row')} of results.jsonl, of no run of this sweep"
        )
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)


def _evaluated(name: str, rows: Sequence[Result], sweep: Sweep) -> str:
    finished = [row for row in rows if row.status is Status.FINISHED]
    left = sum(name in lacking(row, sweep.evaluations) for row in finished)
    failed = sum(name in errors(row, sweep.evaluations) for row in finished)
    notes = f", {failed} failed" if failed else ""
    return f"{as_markdown(name)} of {len(finished) - left} of {counted(len(finished), 'finished run')}{notes}"


def _distinct(rows: Sequence[Result], describe: Any) -> str:
    """Each different description once; those of rows that the worker did not live to describe are empty."""
    return "; and ".join(dict.fromkeys(filter(None, (describe(row.machine) for row in rows))))


def _hardware(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    devices = f"{machine['devices']} x {machine['device']}"
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return f"{devices}; {machine['processor']}, {cores} a run"


def _versions(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())


def _meaning(sweep: Sweep, rows: Sequence[Result]) -> str:
    lines = [
        f"Mean ± standard deviation (of a sample, n - 1) over the runs that finished, which differ in "
        f"{' and '.join(f'`{field}`' for field in sweep.seed_fields)}."
    ]
    finished = [row for row in rows if row.status is Status.FINISHED]
    for measure in sweep.every_measure():
        without = [row for row in finished if measured(row, measure) is None]
        if without:
            lines.append(
                f"{as_code(measure.name)} is not a number in {len(without)} of {len(finished)} finished runs."
            )
    return "\n".join(lines)


def _pictures(sweep: Sweep, groups: Sequence[Group], directory: pathlib.Path) -> Iterator[str]:
    if sweep.plot is not None:
        for measure in sweep.measures:
            yield picture(charts.of_measure(sweep, sweep.plot, measure, groups), directory)


def _profiles(sweep: Sweep, groups: Sequence[Group], directory: pathlib.Path) -> Iterator[str]:
    for profile in sweep.profiles:
        yield f"## {as_markdown(profile.heading)}"
        yield tables.profile_table(sweep, profile, groups)
        yield picture(charts.of_profile(sweep, profile, groups), directory)


def _failures(sweep: Sweep, cells: Sequence[Cell], results: ResultsFile) -> Iterator[str]:
    there = [(cell, row) for cell in cells if (row := results.get(cell.hash)) is not None]
    failed = [[cell.name, row.error] for cell, row in there if row.status is Status.FAILED]
    if failed:
        yield "## Failed runs"
        yield tables.of_texts(["run", "error"], failed)
    unevaluated = [
        [cell.name, name, error]
        for cell, row in there
        for name, error in errors(row, sweep.evaluations).items()
    ]
    if unevaluated:
        yield "## Failed evaluations"
        yield tables.of_texts(["run", "evaluation", "error"], unevaluated)
