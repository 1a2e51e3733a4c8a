"""What happens to malformed examples: they stop the run, or are left out and counted."""

from collections.abc import Callable

import numpy as np

from im_jax.config import CHOICES
from im_jax.data.conversation import Conversation
from im_jax.errors import ConfigError, DataError


def find_usable(
    count: int, read: Callable[[int], Conversation], on_bad_example: str, place: str
) -> tuple[np.ndarray, list[str]]:
    """Reads every example once, so that a bad one is met before training and not hours into it.

    Args:
        count: number of examples that `read` can give.
        read: gives example i, or raises `DataError`.
        on_bad_example: `stop` or `skip`, as `data.on_bad_example`.
        place: what is read, for error messages.

    Returns:
        The indices of the usable examples (int64, increasing), and one message for each of the others.

    Raises:
        ConfigError: `on_bad_example` is neither `stop` nor `skip`.
        DataError: an example is malformed (`stop`), or no usable one is left.
    """
    choices = CHOICES["data.on_bad_example"]
    if on_bad_example not in choices:
        raise ConfigError(f"data.on_bad_example is {on_bad_example!r}; set one of {', '.join(choices)}")
    usable, skipped = [], []
    for i in range(count):
        try:
            read(i)
        except DataError as error:
            if on_bad_example == "stop":
                raise DataError(f"{error} (--config.data.on_bad_example=skip leaves such out)") from None
            skipped.append(str(error))
        else:
            usable.append(i)
    if not usable:
        reason = f"all {count} were skipped, the first because {skipped[0]}" if skipped else "it is empty"
        raise DataError(f"{place}: holds no usable example: {reason}")
    return np.array(usable, np.int64), skipped
