"""Checks of a sweep before its first run: each failure names the axis, the point and the field."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from im_jax import validation
from im_jax.config import Config, check_field, flatten
from im_jax.errors import ConfigError
from im_jax.sweeps.cells import Cell, combinations, expand
from im_jax.sweeps.comparison_checks import check_comparisons
from im_jax.sweeps.definition import (
    Comparison,
    Gain,
    KeepCheckpoints,
    Measure,
    Plot,
    Profile,
    StopEarly,
    Sweep,
)
from im_jax.sweeps.drawing_checks import check_drawing
from im_jax.sweeps.evaluation_checks import check_can_be_evaluated, check_evaluations

_KINDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "title": (str,),
    "description": (str,),
    "base": (Config,),
    "axes": (Mapping,),
    "measures": (Sequence,),
    "profiles": (Sequence,),
    "seeds": (Sequence,),
    "seed_fields": (Sequence,),
    "plot": (Plot, type(None)),
    "where": (Callable,),
    "keep_checkpoints": (KeepCheckpoints,),
    "evaluations": (Mapping,),
    "comparisons": (Sequence,),
    "gains": (Sequence,),
    "stop": (StopEarly, type(None)),
}


def checked_cells(sweep: Sweep) -> list[Cell]:
    """All cells of a sweep that can be run.

    Raises:
        ConfigError: something about the sweep or one of its cells cannot work.
    """
    _check_types(sweep)
    _check_seeds(sweep)
    _check_axes(sweep)
    _check_measures(sweep)
    check_drawing(sweep)
    check_evaluations(sweep.evaluations)
    check_comparisons(sweep)
    if not combinations(sweep):
        raise ConfigError("where() is true for no combination of points; there is nothing to run")
    cells = expand(sweep)
    for cell in cells:
        _check_cell(sweep, cell)
    _check_different(cells)
    return cells


def check_overrides(sweep: Sweep, given: Config) -> None:
    """Stop at flags for fields that every cell sets itself. `given` is the base with the flags applied."""
    base, flat = flatten(sweep.base), flatten(given)
    for field in (name for name in flat if flat[name] != base[name]):
        owner = _owners(sweep).get(field)
        if owner:
            raise ConfigError(f"--config.{field} has no effect: {owner} sets it; leave it out")


def _owners(sweep: Sweep) -> dict[str, str]:
    """What sets each field."""
    owners = dict.fromkeys(sweep.seed_fields, "the sweep's seed")
    for axis, points in sweep.axes.items():
        owners |= {field: f"axis {axis}" for overrides in points.values() for field in overrides}
    return owners


def _check_types(sweep: Sweep) -> None:
    """Stop at what the checks below could not even look at."""
    for name, kinds in _KINDS.items():
        value = getattr(sweep, name)
        if not isinstance(value, kinds):
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ConfigError(f"{name}={value!r} is {type(value).__name__}; it must be {wanted}")
    lists = (
        *(("measures", sweep.measures, Measure), ("profiles", sweep.profiles, Profile)),
        *(("comparisons", sweep.comparisons, Comparison), ("gains", sweep.gains, Gain)),
    )
    for name, values, kind in lists:
        for value in values:
            if not isinstance(value, kind):
                raise ConfigError(
                    f"{name} holds {value!r}, which is {type(value).__name__}; it must be {kind.__name__}"
                )


def _check_seeds(sweep: Sweep) -> None:
    seeds = sweep.seeds
    if not seeds or not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={seeds!r}: give one or more different whole numbers")
    if not sweep.seed_fields:
        raise ConfigError("seed_fields is empty; name what a seed sets, such as ('seed',)")
    for field in sweep.seed_fields:
        _named("seed_fields", check_field, field)


def _check_axes(sweep: Sweep) -> None:
    owners = dict.fromkeys(sweep.seed_fields, "the sweep's seed")
    for axis, points in sweep.axes.items():
        if axis == "seed":
            raise ConfigError("axis seed: seeds are no axis; set Sweep.seeds")
        if not isinstance(points, Mapping) or not points:
            raise ConfigError(f"axis {axis}: give its points as {{label: {{field: value}}}}, or by over()")
        for label, overrides in points.items():
            where = f"axis {axis}, point {label}"
            if not isinstance(label, str) or not isinstance(overrides, Mapping):
                raise ConfigError(
                    f"{where}: a point is a text and a mapping, as 'im': {{'loss.policy': 'im'}}"
                )
            for field in overrides:
                _named(where, check_field, field)
                owner = owners.setdefault(field, f"axis {axis}")
                if owner != f"axis {axis}":
                    raise ConfigError(f"{where}: {field} is set by {owner} already; one must decide it")


def _check_measures(sweep: Sweep) -> None:
    names = [measure.name for measure in sweep.measures]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"measures are {', '.join(names) or 'none'}: give one or more, each once")


def _check_cell(sweep: Sweep, cell: Cell) -> None:
    """Check a cell's configuration, and blame the points that set the fields that the error names."""
    try:
        validation.check(cell.config)
        if cell.config.mesh.distributed == "require":
            raise ConfigError("mesh.distributed=require: a run of a sweep is one process; set it to off")
        check_can_be_evaluated(sweep.evaluations, cell.config)
    except ConfigError as error:
        guilty = [
            f"axis {axis}, point {label}"
            for axis, label in cell.labels.items()
            if any(field in str(error) for field in sweep.axes[axis][label])
        ]
        raise ConfigError(f"{'; '.join(guilty) or cell.name}: {error}") from error


def _check_different(cells: Sequence[Cell]) -> None:
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.hash, cell)
        if other is not cell:
            raise ConfigError(
                f"{other.name} and {cell.name} are the same run; make them differ in a field that decides "
                "results, or leave one out by where()"
            )


def _named(where: str, check: Any, value: Any) -> None:
    try:
        check(value)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
