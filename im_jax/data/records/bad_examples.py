"""What happens to malformed examples: they stop the run, or are left out and counted."""

from collections.abc import Mapping, Sequence
from typing import Final

from im_jax.config import CHOICES
from im_jax.data.records.turns import TurnsError
from im_jax.errors import ConfigError, DataError

_FIELD: Final = "data.on_bad_example"


class BadExamples:
    """The malformed examples of a source, so that a bad one is met before training and not hours into it."""

    def __init__(self, on_bad_example: str) -> None:
        """`on_bad_example`: `stop` or `skip`, as `data.on_bad_example`.

        Raises:
            ConfigError: it is neither.
        """
        if on_bad_example not in CHOICES[_FIELD]:
            raise ConfigError(f"{_FIELD} is {on_bad_example!r}; set one of {', '.join(CHOICES[_FIELD])}")
        self._stops = on_bad_example == "stop"
        self.skipped: list[str] = []
        """A message for each that was left out."""

    def meet(self, error: DataError) -> None:
        """An example is malformed.

        Raises:
            DataError: examples are to `stop` the run.
        """
        if self._stops:
            choices = f"{error.other_choices} decides it; " if isinstance(error, TurnsError) else ""
            raise DataError(f"{error} ({choices}--config.{_FIELD}=skip leaves such out)") from None
        self.skipped.append(str(error))


def refuse_nothing(
    usable: int, malformed: int, skipped: Sequence[str], left_out: Mapping[str, int], place: str
) -> None:
    """Stop where no usable example is left.

    Args:
        usable: their number.
        malformed: number of malformed ones.
        skipped: a message for each of the first of these.
        left_out: number of those that `data.turns` left out, by reason.
        place: what is read.

    Raises:
        DataError: it is 0.
    """
    if not usable:
        reasons = [f"{count:,} {reason} were left out by data.turns" for reason, count in left_out.items()]
        if malformed:
            reasons.append(f"all {malformed:,} were skipped, the first because {skipped[0]}")
        raise DataError(f"{place}: holds no usable example: {'; '.join(reasons) or 'it is empty'}")
