"""Distinct rules, and others that are not among them."""

from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.families import source_letters
from im_jax.studies.rewrites.examples.random_access import below, draw

_ROUNDS: Final = 50
"""Draws of all rules that are missing, before their kind is taken to hold no more."""
_LEAST_DRAWN: Final = 1000


class Kind(NamedTuple):
    """Where the sides of a rule come from."""

    family: str
    k: int


class Rules(NamedTuple):
    """I rules `left -> right`, all different."""

    left: jt.UInt8[np.ndarray, "I X"]
    right: jt.UInt8[np.ndarray, "I Y"]
    kinds: jt.Int64[np.ndarray, " I"]
    """Index of each rule's kind among those it was drawn from."""

    def __len__(self) -> int:
        return len(self.left)


def draw_rules(
    kinds: tuple[Kind, ...],
    count: int,
    *,
    letters: int,
    lengths: tuple[int, int],
    seed: int,
    stream: int,
    seen: Rules | None = None,
    unseen: str = "rule",
) -> Rules:
    """`count` different rules, of each kind as many as of any other.

    Both sides of a rule are of its kind, and differ from each other. Of one kind, a larger draw begins with
    the rules of a smaller one.

    Args:
        kinds: each with a `k` that divides both lengths.
        count: rules, in all.
        letters: size of the alphabet.
        lengths: of the left and the right side.
        seed: of the task.
        stream: which of its sequences.
        seen: rules that the new ones must not repeat.
        unseen: what no `seen` rule has of a new one: the pair (`rule`), its `left` side, its `right` side, or
            neither (`both`).

    Raises:
        ConfigError: there are not that many.
    """
    taken = Taken(seen, unseen)
    parts = []
    for number, kind in enumerate(kinds):
        wanted = count // len(kinds) + (number < count % len(kinds))
        sides = _draw_kind(kind, wanted, letters, lengths, seed, stream + number, taken)
        parts.append(Rules(*sides, np.full(wanted, number, np.int64)))
    # Dealt out in turn, so that the frequent rules of a long tail are of all kinds.
    order = np.argsort(np.concatenate([np.arange(len(part)) for part in parts]), kind="stable")
    return Rules(*(np.concatenate(column)[order] for column in zip(*parts, strict=True)))


class Taken:
    """What new rules must differ from; grows with what is accepted."""

    def __init__(self, seen: Rules | None, unseen: str) -> None:
        """Args: rules that must not be repeated, and in what; see `draw_rules`."""
        self._pairs: set[bytes] = set()
        self._left: set[bytes] = set()
        self._right: set[bytes] = set()
        if seen is not None:
            self._pairs = set(_as_bytes(np.concatenate([seen.left, seen.right], axis=1)))
            self._left = set(_as_bytes(seen.left)) if unseen in ("left", "both") else set()
            self._right = set(_as_bytes(seen.right)) if unseen in ("right", "both") else set()

    def has(self, left: bytes, right: bytes) -> bool:
        """Whether a rule, as the bytes of its letter numbers, repeats one of those."""
        return left + right in self._pairs or left in self._left or right in self._right

    def accept(self, left: np.ndarray, right: np.ndarray, most: int) -> list[int]:
        """Indices of the first `most` rules that are new, which they then are no longer."""
        accepted: list[int] = []
        pairs = _as_bytes(np.concatenate([left, right], axis=1))
        for i, (x, y, pair) in enumerate(zip(_as_bytes(left), _as_bytes(right), pairs, strict=True)):
            if len(accepted) == most:
                break
            if x != y and not self.has(x, y):
                self._pairs.add(pair)
                accepted.append(i)
        return accepted


def _draw_kind(
    kind: Kind,
    wanted: int,
    letters: int,
    lengths: tuple[int, int],
    seed: int,
    stream: int,
    taken: Taken,
) -> tuple[np.ndarray, np.ndarray]:
    free = [length if kind.family == "free" else length // kind.k for length in lengths]
    sources = [source_letters(kind.family, length, kind.k) for length in lengths]
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    missing, drawn = wanted, 0
    for _ in range(_ROUNDS):
        if not missing:
            break
        # More than are missing: where there are hardly any other rules, few draws find one.
        items = np.arange(drawn, drawn + max(missing, _LEAST_DRAWN))
        base = below(draw(seed, stream, items, sum(free)), letters)
        drawn += len(items)
        left, right = base[:, : free[0]][:, sources[0]], base[:, free[0] :][:, sources[1]]
        new = taken.accept(left, right, missing)
        parts.append((left[new], right[new]))
        missing -= len(new)
    if missing:
        raise ConfigError(
            f"data.rewrites: found only {wanted - missing} of {wanted} different rules of the family "
            f"{kind.family} with k = {kind.k}, sides of {lengths[0]} and {lengths[1]} letters out of "
            f"{letters}; ask for fewer rules, or for longer sides, more letters or a smaller k"
        )
    empty = tuple(np.zeros((0, length), np.int64) for length in lengths)
    left, right = (np.concatenate(column).astype(np.uint8) for column in zip(empty, *parts, strict=True))
    return left, right


def _as_bytes(rows: np.ndarray) -> list[bytes]:
    narrow = np.ascontiguousarray(rows, np.uint8)
    return [row.tobytes() for row in narrow]
