"""What happens to malformed examples: they stop the run, or are left out and counted."""

from typing import Final

from im_jax.config import CHOICES
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
        self.count = 0
        """Those that were left out."""

    def meet(self, error: DataError) -> None:
        """An example is malformed.

        Raises:
            DataError: examples are to `stop` the run.
        """
        if self._stops:
            raise DataError(f"{error} (--config.{_FIELD}=skip leaves such out)") from None
        self.skipped.append(str(error))
        self.count += 1

    def refuse_nothing(self, usable: int, place: str) -> None:
        """Stop where no usable example is left.

        Args:
            usable: their number.
            place: what is read.

        Raises:
            DataError: it is 0.
        """
        if not usable:
            reason = "it is empty"
            if self.count:
                reason = f"all {self.count:,} were skipped, the first because {self.skipped[0]}"
            raise DataError(f"{place}: holds no usable example: {reason}")
