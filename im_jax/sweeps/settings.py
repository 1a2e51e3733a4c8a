"""What a sweep's runs were set to, as tables of its report: what differs between them and what is shared."""

from collections.abc import Iterator, Mapping, Sequence

from im_jax.config import Config, flatten
from im_jax.sweeps import tables
from im_jax.sweeps.definition import Axis, Sweep
from im_jax.text import as_markdown


def axes_table(sweep: Sweep) -> str:
    """The fields that each point sets, and those that seeds set."""
    base = flatten(sweep.base)
    lines = [line for axis, points in sweep.axes.items() for line in _points(axis, points, base)]
    seeds = ", ".join(map(str, sweep.seeds))
    lines.append(["seed", seeds, ", ".join(map(tables.code, sweep.seed_fields))])
    return tables.of_markdown(["axis", "point", "sets"], lines)


def shared_table(sweep: Sweep) -> str:
    """Fields that no axis and no seed sets, and that are not at their defaults."""
    defaults, own = flatten(Config()), {*sweep.seed_fields}
    for points in sweep.axes.values():
        own.update(_fields(points))
    changed = [
        [tables.code(name), tables.code(value)]
        for name, value in flatten(sweep.base).items()
        if name not in own and value != defaults[name]
    ]
    table = tables.of_markdown(["field", "value"], changed)
    return f"What all runs share, where it is not the default:\n\n{table}"


def _points(axis: str, points: Axis, base: Mapping[str, object]) -> Iterator[Sequence[str]]:
    """A line for each point; of a field that only others set, it has the base's value."""
    fields = _fields(points)
    for label, overrides in points.items():
        sets = (tables.code(f"{field}={overrides.get(field, base[field])}") for field in fields)
        yield [as_markdown(axis), as_markdown(label), ", ".join(sets)]


def _fields(points: Axis) -> list[str]:
    """All fields that any point sets, in the order in which they first appear."""
    return list(dict.fromkeys(field for overrides in points.values() for field in overrides))
