"""Run a grid of configurations, and report mean and spread over seeds.

    python -m im_jax.sweep --config=configs/sweeps/im_and_it.py --workdir=DIR [--tier=NAME]
        [--workers=N | --executor=slurm --partition=NAME --time=4:00:00 --gpus_per_node=1]
        [--local_data=DIR] [--noevaluate] [--dry_run | --report_only] [--config.FIELD=VALUE ...]

Flags --config.FIELD=VALUE change what all runs share. Started again in the same workdir, a sweep skips
finished runs, goes on with the one that was stopped, and tries failed ones again. Runs whose comparisons are
settled are left out where the file says so (Sweep.stop). With --executor=slurm runs are jobs, which go on
without this command; started again, it collects what they gave. In WORKDIR: results.jsonl, table.csv,
runs.csv, report.md and .html, figures/, runs/. The exit code is 1 if a run failed.
"""

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from im_jax import command_line, files
from im_jax.command_line.arguments import check_effect
from im_jax.config import Config
from im_jax.console import Console, print_text
from im_jax.errors import ConfigError
from im_jax.sweeps import executors, jobs, running, stopping
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.checks import check_overrides, checked_cells
from im_jax.sweeps.definition import KeepCheckpoints, Sweep
from im_jax.sweeps.earlier import known_again
from im_jax.sweeps.evaluated import lacking, reasons
from im_jax.sweeps.evaluations import with_local_data
from im_jax.sweeps.loading import load_sweep
from im_jax.sweeps.preparing import check_inputs, progress_of, put_in_order
from im_jax.sweeps.process import start_workers
from im_jax.sweeps.results import ResultsFile
from im_jax.sweeps.shares import Cores, check_no_accelerator, shares
from im_jax.sweeps.slurm import Options, Queue, Slurm
from im_jax.sweeps.submitted import Submitted
from im_jax.text import counted, in_one_line


def main(arguments: command_line.CommandLine) -> None:
    console = Console()
    sweep, cells = read_sweep(arguments)
    options = executors.read_executor(arguments.flags)
    cores = shares(1 if arguments.flag("workers") is None else arguments.flag("workers"))
    workdir = pathlib.Path(arguments.flag("workdir") or default_workdir(arguments))
    results = ResultsFile(workdir / "results.jsonl")
    for message in results.damaged:
        console.print(message)
    known_again(cells, results, workdir)
    if arguments.flag("dry_run"):
        return show_cells(sweep, cells, results, submitted_in(workdir), options, console)
    if not arguments.flag("report_only"):
        if options is None:
            run_cells(sweep, cells, workdir, cores, console)
        else:
            run_jobs(sweep, cells, workdir, options, Slurm(options, jobs_directory(workdir)), console)
        results = ResultsFile(workdir / "results.jsonl")
    elif not len(results):
        raise ConfigError(f"{workdir}/results.jsonl has no results to report; run the sweep first")
    from im_jax.sweeps.report import write_report  # only where it is needed: drawing is slow to import

    write_report(sweep, cells, results, workdir, command(arguments.words))
    console.print(f"{workdir / 'report.md'} is written")
    if not arguments.flag("report_only"):
        exit_if_failed(sweep, cells, results, workdir)


def read_sweep(arguments: command_line.CommandLine) -> tuple[Sweep, list[Cell]]:
    """The sweep with the flags applied, and its cells, all of them checked."""
    path = arguments.config_path
    sweep = load_sweep(path, arguments.flag("tier"))
    try:
        check_overrides(sweep, arguments.config)
        if sweep.evaluations and not arguments.flag("evaluate"):
            sweep = dataclasses.replace(sweep, evaluations={}, keep_checkpoints=KeepCheckpoints.ALL)
        evaluations = with_local_data(sweep.evaluations, arguments.flag("local_data"))
        sweep = dataclasses.replace(sweep, base=arguments.config, evaluations=evaluations)
        cells = checked_cells(sweep)
        check_effect(arguments.fields, [cell.config for cell in cells])
        return sweep, cells
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def run_cells(
    sweep: Sweep, cells: Sequence[Cell], workdir: pathlib.Path, cores: Sequence[Cores], console: Console
) -> None:
    """Run what is not finished yet, with a worker for each of `cores`."""
    with files.alone(workdir):
        if going := submitted_in(workdir).going:
            raise ConfigError(
                f"{counted(len(going), 'run')} of this sweep went to Slurm: collect them by --executor=slurm "
                f"first, or cancel the jobs and remove {jobs_directory(workdir)}"
            )
        results = put_in_order(sweep, cells, cells, workdir, console)
        waiting = running.unfinished(cells, results, sweep.evaluations)
        check_inputs(waiting)
        progress = progress_of(sweep, cells, len(waiting), len(cores), console)
        if waiting:
            check_no_accelerator(len(cores))
        try:
            with start_workers(cores, sweep.evaluations) as workers, progress:
                runs = [worker.run for worker in workers]
                keep = sweep.keep_checkpoints
                reason = stopping.reason_to_leave(sweep, cells, results)
                running.run_cells(waiting, results, workdir, runs, progress, keep, sweep.evaluations, reason)
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on from here")
            raise


def run_jobs(
    sweep: Sweep,
    cells: Sequence[Cell],
    workdir: pathlib.Path,
    options: Options,
    queue: Queue,
    console: Console,
) -> None:
    """Submit what is neither finished nor submitted yet, and collect what all jobs give."""
    with files.alone(workdir):
        submitted = submitted_in(workdir)
        jobs.find_lost(submitted, queue)
        at_rest = [cell for cell in cells if cell.hash not in submitted.going]
        results = put_in_order(sweep, cells, at_rest, workdir, console)
        waiting = running.unfinished(at_rest, results, sweep.evaluations)
        check_inputs(waiting)
        before = len(cells) - len(at_rest)
        left = len(waiting) + before
        progress = progress_of(sweep, cells, left, min(options.parallel, left), console)
        if before:
            console.print(f"{counted(before, 'run')} submitted before")
        try:
            with progress:
                for part in stopping.in_rounds(sweep, waiting) or [[]]:
                    unneeded = stopping.left_out(sweep, cells, results)
                    for cell in (each for each in part if each.hash in unneeded):
                        progress.leave_out(cell, stopping.why(unneeded[cell.hash]))
                    wanted = [cell for cell in part if cell.hash not in unneeded]
                    jobs.submit(wanted, workdir, submitted, queue, console.print, sweep.evaluations)
                    jobs.collect(
                        *(cells, results, workdir, submitted, queue, progress),
                        *(sweep.keep_checkpoints, console.print, sweep.evaluations),
                    )
        except KeyboardInterrupt:
            console.print("stopped; the jobs go on, and the same command collects them")
            raise


def jobs_directory(workdir: pathlib.Path) -> pathlib.Path:
    """What jobs read and write beside their runs."""
    return workdir / "slurm"


def submitted_in(workdir: pathlib.Path) -> Submitted:
    """Which runs are which jobs."""
    return Submitted(jobs_directory(workdir) / "jobs.jsonl")


def show_cells(
    sweep: Sweep,
    cells: Sequence[Cell],
    results: ResultsFile,
    submitted: Submitted,
    options: Options | None,
    console: Console,
) -> None:
    """List all cells with their hashes and what is known of them, and what would be submitted."""
    unneeded = stopping.left_out(sweep, cells, results)
    for cell in cells:
        result = results.get(cell.hash)
        status = "to run" if result is None else result.status.value
        if result is not None and lacking(result, sweep.evaluations):
            status = "trained"
        elif cell.hash in unneeded:
            status = "left out"
        console.print(f"{cell.hash}  {submitted.shown(cell.hash) or status:8}  {cell.name}")
    unfinished = running.unfinished(cells, results, sweep.evaluations)
    left = [cell for cell in unfinished if cell.hash not in unneeded]
    waiting = [cell for cell in left if not submitted.shown(cell.hash)]
    sent = f", {len(left) - len(waiting)} submitted" if len(waiting) < len(left) else ""
    out = f", {len(unneeded)} left out" if unneeded else ""
    finished = len(cells) - len(unfinished)
    console.print(f"{counted(len(cells), 'run')}, {finished} finished{sent}{out}, {len(waiting)} to run")
    if options is not None and waiting:
        console.print(shlex.join(["sbatch", *options.words(len(waiting))]))


def exit_if_failed(sweep: Sweep, cells: Sequence[Cell], results: ResultsFile, workdir: pathlib.Path) -> None:
    """Name the failed runs on standard error, and exit with code 1 if there are any."""
    failed = [
        (cell, told)
        for cell in cells
        if (result := results.get(cell.hash)) is not None and (told := reasons(result, sweep.evaluations))
    ]
    for cell, told in failed:
        log = cell.directory(workdir) / "log.txt"
        for reason in told:
            print_text(in_one_line(f"failed: {cell.name}: {reason} (log: {log})"), sys.stderr)
    if failed:
        print_text(f"{counted(len(failed), 'run')} failed; the same command tries again", sys.stderr)
        sys.exit(1)


def command(arguments: Sequence[str]) -> str:
    """The command line that runs the sweep."""
    kept = [argument for argument in arguments if argument.lstrip("-").partition("=")[0] != "report_only"]
    return shlex.join(["python", "-m", "im_jax.sweep", *kept])


def default_workdir(arguments: command_line.CommandLine) -> pathlib.Path:
    """The same for the same sweep and tier, so that it goes on where it stopped."""
    parts = [arguments.config_path.stem, arguments.flag("tier")]
    return pathlib.Path("runs") / "-".join(filter(None, parts))


def read_base(path: pathlib.Path | None, values: flags.FlagValues) -> Config:
    """The configuration that flags change."""
    if path is None:
        raise ConfigError("no sweep given; set --config=FILE, such as --config=configs/sweeps/im_and_it.py")
    return load_sweep(path, values["tier"].value).base


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Where to write; runs/FILE-TIER if not given.", flag_values=values)
    flags.DEFINE_string(
        "tier", None, "Which of the sizes in the file; its default if not given.", flag_values=values
    )
    flags.DEFINE_string(
        "local_data",
        None,
        "Folder of local data sets, for evaluations by benchmark tasks.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "evaluate", True, "Make the sweep's evaluations; --noevaluate: later.", flag_values=values
    )
    executors.define_flags(values)
    flags.DEFINE_bool("dry_run", False, "List the runs and what is finished, and stop.", flag_values=values)
    flags.DEFINE_bool("report_only", False, "Write the report from the rows there are.", flag_values=values)


run = command_line.Command(__doc__ or "", main, define_flags, read_base, one_config=False)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
