"""report.md: what was run, on what, and what came out, so that it can be read and repeated on its own."""

import datetime
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from im_jax.config import Config, flatten
from im_jax.files import write_whole
from im_jax.sweeps import charts, figures, tables
from im_jax.sweeps.aggregation import Group, Pairs, group, measured, pair
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import Sweep
from im_jax.sweeps.results import Result, ResultsFile, Status


def write_report(
    sweep: Sweep, cells: Sequence[Cell], results: ResultsFile, workdir: pathlib.Path, command: str
) -> None:
    """Write WORKDIR/report.md, table.csv and figures/ from the rows that there are."""
    groups = group(cells, results)
    pairs = pair(sweep, groups)
    rows = [row for cell in cells if (row := results.get(cell.hash)) is not None]
    write_whole(workdir / "table.csv", tables.as_csv(sweep, groups, pairs))
    sections = [
        f"# {sweep.title}",
        sweep.description.strip(),
        _facts(cells, rows, results, command),
        "## Results",
        tables.means_table(sweep, groups),
        _meaning(sweep, rows),
        *_paired(sweep, pairs),
        *_pictures(sweep, groups, workdir / "figures"),
        *_profiles(sweep, groups, workdir / "figures"),
        *_failures(cells, results),
        "## Configuration",
        _axes(sweep),
        _base(sweep),
    ]
    write_whole(workdir / "report.md", "\n\n".join(filter(None, sections)) + "\n")


def _facts(cells: Sequence[Cell], rows: Sequence[Result], results: ResultsFile, command: str) -> str:
    finished = sum(row.status is Status.FINISHED for row in rows)
    facts = {
        "Command": f"`{command}`",
        "Report written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Runs": f"{len(cells)}: {finished} finished, {len(rows) - finished} failed, "
        f"{len(cells) - len(rows)} not run yet",
        "Time": f"{sum(row.seconds for row in rows) / 60:.1f} minutes over all runs",
        "Hardware": _distinct(rows, _hardware),
        "Versions": _distinct(rows, _versions),
    }
    if len(results) > len(rows):
        facts["Left out"] = f"{len(results) - len(rows)} rows of results.jsonl are of no run of this sweep"
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)


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
                f"`{measure.name}` is not a number in {len(without)} of {len(finished)} finished runs."
            )
    return "\n".join(lines)


def _paired(sweep: Sweep, pairs: Sequence[Pairs]) -> Iterator[str]:
    if not pairs or sweep.plot is None:
        return
    first, second = sweep.axes[sweep.plot.series]
    yield f"## {first} minus {second}, seed by seed"
    yield tables.pairs_table(sweep, pairs)
    different = sum(not p.same_data() for p in pairs)
    seen = "In every pair both runs saw the same examples (their fingerprints are equal)."
    if different:
        seen = f"In {different} of {len(pairs)} lines the two runs of a pair saw different examples."
    yield f"Mean ± standard deviation of the difference between the two runs that share a seed. {seen}"


def _pictures(sweep: Sweep, groups: Sequence[Group], directory: pathlib.Path) -> Iterator[str]:
    if sweep.plot is not None:
        for measure in sweep.measures:
            yield _picture(charts.of_measure(sweep, sweep.plot, measure, groups), directory)


def _profiles(sweep: Sweep, groups: Sequence[Group], directory: pathlib.Path) -> Iterator[str]:
    for profile in sweep.profiles:
        yield f"## {profile.heading}"
        yield tables.profile_table(sweep, profile, groups)
        yield _picture(charts.of_profile(sweep, profile, groups), directory)


def _picture(chart: charts.Chart, directory: pathlib.Path) -> str:
    """Draws it; empty where there is nothing to draw."""
    path = figures.draw(chart, directory)
    return f"![{path.stem}](figures/{path.name})" if path else ""


def _failures(cells: Sequence[Cell], results: ResultsFile) -> Iterator[str]:
    failed = [
        [cell.name, row.error]
        for cell in cells
        if (row := results.get(cell.hash)) is not None and row.status is Status.FAILED
    ]
    if failed:
        yield "## Failed runs"
        yield tables.markdown(["run", "error"], failed)


def _axes(sweep: Sweep) -> str:
    lines = [
        [axis, label, ", ".join(f"`{field}={value}`" for field, value in overrides.items())]
        for axis, points in sweep.axes.items()
        for label, overrides in points.items()
    ]
    seeds = ", ".join(map(str, sweep.seeds))
    lines.append(["seed", seeds, ", ".join(f"`{field}`" for field in sweep.seed_fields)])
    return tables.markdown(["axis", "point", "sets"], lines)


def _base(sweep: Sweep) -> str:
    defaults = flatten(Config())
    changed = [
        [f"`{name}`", f"`{value}`"] for name, value in flatten(sweep.base).items() if value != defaults[name]
    ]
    table = tables.markdown(["field", "value"], changed)
    return f"What all runs share, where it is not the default:\n\n{table}"
