"""Checks of what a sweep compares: settings, and gains along an axis."""

from im_jax.config.checks import did_you_mean
from im_jax.errors import ConfigError
from im_jax.sweeps.charts import file_name
from im_jax.sweeps.definition import Comparison, Gain, StopEarly, Sweep, number
from im_jax.sweeps.gains import chart_name


def check_comparisons(sweep: Sweep) -> None:
    """Stop at what cannot be compared. Axes, measures and the plot are right already.

    Raises:
        ConfigError: names the comparison or the gain.
    """
    for comparison in sweep.comparisons:
        _check(sweep, comparison)
    if len(set(sweep.comparisons)) < len(sweep.comparisons):
        raise ConfigError("comparisons has one twice; name each once")
    taken = {file_name(measure.name) for measure in sweep.measures}
    taken |= {file_name(profile.title) for profile in sweep.profiles}
    for gain in sweep.gains:
        where = f"gain in {gain.measure}"
        _check_gain(sweep, gain, where)
        file = file_name(chart_name(gain))
        if file in taken:
            raise ConfigError(f"{where}: its figure would be {file}, as that of another; leave one out")
        taken.add(file)
    if sweep.stop is not None:
        _check_stop(sweep, sweep.stop)


def _check_stop(sweep: Sweep, stop: StopEarly) -> None:
    names = [measure.name for measure in sweep.measures]
    if stop.measure not in names:
        raise ConfigError(f"stop: {stop.measure} is no measure{did_you_mean(stop.measure, names)}")
    if not sweep.every_comparison():
        raise ConfigError("stop: the sweep compares nothing; name settings in comparisons")
    if not 0 < stop.level < 1:
        raise ConfigError(f"stop: level={stop.level}: give a probability, such as 0.05")
    if type(stop.first) is not int or not 2 <= stop.first <= len(sweep.seeds):
        raise ConfigError(f"stop: first={stop.first}: give 2 to {len(sweep.seeds)} pairs, as many as seeds")
    if stop.margin is not None and not stop.margin > 0:
        raise ConfigError(f"stop: margin={stop.margin}: give a difference above 0, or None")


def _check(sweep: Sweep, comparison: Comparison) -> None:
    where = f"comparison of {comparison.first} and {comparison.second}"
    if comparison.axis not in sweep.axes:
        raise ConfigError(
            f"{where}: {comparison.axis!r} is no axis{did_you_mean(comparison.axis, list(sweep.axes))}"
        )
    for label in (comparison.first, comparison.second):
        points = list(sweep.axes[comparison.axis])
        if label not in points:
            raise ConfigError(
                f"{where}: {label!r} is no point of {comparison.axis}{did_you_mean(label, points)}"
            )
    if comparison.first == comparison.second:
        raise ConfigError(f"{where}: they are the same; name two points")


def _check_gain(sweep: Sweep, gain: Gain, where: str) -> None:
    names = [measure.name for measure in sweep.measures]
    if gain.measure not in names:
        raise ConfigError(f"{where}: there is no such measure{did_you_mean(gain.measure, names)}")
    low, _ = sweep.measure(gain.measure).bounds
    if low < 0:
        raise ConfigError(
            f"{where}: a share of what may be negative means nothing; say what it can be, "
            "as bounds=NOT_NEGATIVE"
        )
    comparisons = sweep.every_comparison()
    if gain.comparison is None and len(comparisons) != 1:
        raise ConfigError(f"{where}: the sweep has {len(comparisons)} comparisons; set Gain.comparison")
    if gain.comparison is not None and gain.comparison not in comparisons:
        raise ConfigError(f"{where}: its comparison is none of the sweep; name it in comparisons too")
    axis = sweep.compared_by(gain).axis
    if gain.x not in sweep.axes or gain.x == axis:
        others = [name for name in sweep.axes if name != axis]
        raise ConfigError(
            f"{where}: x={gain.x!r} is none of the axes {', '.join(others) or '(there is none)'}"
        )
    numbers = [number(label) for label in sweep.axes[gain.x]]
    if gain.x_measure is None and not all(value is not None and value > 0 for value in numbers):
        raise ConfigError(f"{where}: not every label of {gain.x} is a number above 0; set Gain.x_measure")
