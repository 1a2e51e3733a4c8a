"""Windows over a text that is longer than the model's positions."""

from collections.abc import Iterator, Sequence

from im_jax.errors import ConfigError
from im_jax.evaluation.likelihood.texts import Pair


def windows(text: Sequence[int], prefix_token: int, length: int) -> Iterator[Pair]:
    """Pairs whose continuations are the text, each token once, with as much context as a window leaves.

    With windows of 4 tokens and a text of 10, behind the token p:

        context        continuation
        p              0 1 2 3
        3              4 5 6 7
        5 6 7          8 9

    Args:
        text: may be empty, and then has no windows.
        prefix_token: predicts the first token.
        length: tokens that a window reads.

    Raises:
        ConfigError: windows have no token.
    """
    if length < 1:
        raise ConfigError(f"model.max_positions is {length}; windows need 1 or more")
    behind = [prefix_token, *text]
    for start in range(0, len(text), length):
        end = min(start + length, len(text))
        first = max(0, min(start, end - length))
        yield behind[first : start + 1], text[start:end]
