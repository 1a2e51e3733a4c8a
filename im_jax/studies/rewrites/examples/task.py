"""A rewrite task: numbered examples, each a function of the configuration and its number."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.config import RewritesConfig
from im_jax.config.rewrites_checks import check_rewrites, families_of, numbers_of
from im_jax.studies.rewrites.examples import allocation
from im_jax.studies.rewrites.examples.inputs import plant
from im_jax.studies.rewrites.examples.random_access import below, draw
from im_jax.studies.rewrites.examples.rules import Kind, Rules, draw_rules
from im_jax.studies.rewrites.examples.strings import replace_at


class _Streams(NamedTuple):
    """Numbers of the seed's sequences that make the examples of a task: no two tasks share one."""

    order: int
    inputs: int


_TRAIN: Final = _Streams(order=2_000, inputs=10_000)
_TEST: Final = _Streams(order=4_000, inputs=20_000)
_FRESH: Final = _Streams(order=5_000, inputs=30_000)
_TRAIN_RULES: Final = 1_000
_TEST_RULES: Final = 3_000


class Examples(NamedTuple):
    """E examples as letters."""

    rule: jt.Int64[np.ndarray, " E"]
    """Number of the rule."""
    left: jt.UInt8[np.ndarray, "E X"]
    right: jt.UInt8[np.ndarray, "E Y"]
    input: jt.UInt8[np.ndarray, "E Z"]
    occurrences: jt.Int64[np.ndarray, " E"]
    """How often `left` stands in `input`; 0: a no-op."""
    answer: jt.UInt8[np.ndarray, "E A"]
    """`input` with the leftmost `left` replaced by `right`; filled up with 0."""
    answer_length: jt.Int64[np.ndarray, " E"]


@dataclass(frozen=True)
class RewriteTask:
    """Examples 0 to N - 1, in an order in which every stretch is a fair sample."""

    alphabet: str
    rules: Rules
    kinds: tuple[Kind, ...]
    counts: jt.Int64[np.ndarray, " I"]
    """Examples of each rule."""
    occurrences: tuple[int, ...]
    """What inputs with an occurrence hold, in equal shares at random."""
    no_op_fraction: float
    input_length: int
    seed: int
    streams: _Streams

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self.counts) else 0

    @functools.cached_property
    def _ends(self) -> jt.Int64[np.ndarray, " I"]:
        return np.cumsum(self.counts)

    def examples(self, items: jt.Int64[np.ndarray, " E"]) -> Examples:
        """The examples with these numbers, each the same whatever the others are."""
        items = np.asarray(items, np.int64)
        if len(items) and not 0 <= items.min() <= items.max() < len(self):
            raise IndexError(
                f"examples are numbered 0 to {len(self) - 1}, not {items.min()} to {items.max()}"
            )
        rule = np.searchsorted(self._ends, self._shuffled(items), side="right")
        left, right = self.rules.left[rule], self.rules.right[rule]
        numbers = draw(self.seed, self.streams.order, items, 2)[:, 1]
        wanted = np.array(self.occurrences)[below(numbers, len(self.occurrences))]
        wanted = np.where(self.is_no_op(items), 0, wanted)
        texts, first = plant(
            left,
            wanted,
            items,
            length=self.input_length,
            letters=len(self.alphabet),
            seed=self.seed,
            stream=self.streams.inputs,
        )
        answer, answer_length = replace_at(texts, first, left.shape[1], right)
        return Examples(rule, left, right, texts, wanted, answer, answer_length)

    def is_no_op(self, items: jt.Int64[np.ndarray, " E"]) -> jt.Bool[np.ndarray, " E"]:
        """Which of these examples have an input without the left side, and are their own answer."""
        return draw(self.seed, self.streams.order, items, 1)[:, 0] < self.no_op_fraction * 2**32

    def text(self, letters: jt.UInt8[np.ndarray, " _"]) -> str:
        """Letters as a string."""
        return "".join(self.alphabet[letter] for letter in letters)

    def family(self, rule: int) -> str:
        """What a rule is made of, as `free` or `mirrored_k3`."""
        family, k = self.kinds[int(self.rules.kinds[rule])]
        return family if family == "free" else f"{family}_k{k}"

    @property
    def left_length(self) -> int:
        """Letters of every left side."""
        return self.rules.left.shape[1]

    @property
    def right_length(self) -> int:
        """Letters of every right side."""
        return self.rules.right.shape[1]

    @property
    def answer_lengths(self) -> tuple[int, ...]:
        """Letters that an answer can have, ascending."""
        rewritten = [self.input_length - self.left_length + self.right_length]
        lengths = rewritten * (self.no_op_fraction < 1) + [self.input_length] * (self.no_op_fraction > 0)
        return tuple(sorted(set(lengths)))

    @property
    def effective_rules(self) -> float:
        """See `allocation.effective_number`."""
        return allocation.effective_number(self.counts)

    def _shuffled(self, items: jt.Int64[np.ndarray, " E"]) -> jt.Int64[np.ndarray, " E"]:
        """Places of the examples in an order by rule: a fixed permutation without a table.

        Multiplying by a number without a common factor, modulo N, is one; near the golden section of N, it
        spreads neighbours evenly over the rules.
        """
        size = len(self)
        step = max(1, int(size * 0.6180339887498949))
        while np.gcd(step, size) != 1:
            step += 1
        return items * step % size


def make_tasks(config: RewritesConfig, seed: int) -> dict[str, RewriteTask]:
    """The tasks of a configuration.

    `train`: its training examples. `test`: examples of rules that training never sees.
    `train_rules`: training rules on inputs that training never sees, to tell what is not generalised from
    what is not learned.

    Raises:
        ConfigError: a field is impossible, alone or with others, or there are not so many rules.
    """
    check_rewrites(config)
    lengths = (config.left_length, config.right_length)
    kinds = _kinds(config.families, config.k)
    test_kinds = _kinds(config.test_families or config.families, config.test_k or config.k)
    draw = functools.partial(draw_rules, letters=len(config.alphabet), lengths=lengths, seed=seed)
    rules = draw(kinds, config.num_rules, stream=_TRAIN_RULES)
    unseen = draw(test_kinds, config.num_test_rules, stream=_TEST_RULES, seen=rules, unseen=config.unseen)
    shares = allocation.shares(config.allocation, len(rules), config.alpha, seed)
    train = RewriteTask(
        alphabet=config.alphabet,
        rules=rules,
        kinds=kinds,
        counts=allocation.counts(shares, config.num_examples),
        occurrences=numbers_of("occurrences", config.occurrences),
        no_op_fraction=config.no_op_fraction,
        input_length=config.input_length,
        seed=seed,
        streams=_TRAIN,
    )
    test_numbers = numbers_of("test_occurrences", config.test_occurrences or config.occurrences)
    test = dataclasses.replace(
        train,
        rules=unseen,
        kinds=test_kinds,
        counts=_even(len(unseen), config.num_test_examples),
        occurrences=test_numbers,
        no_op_fraction=_or(config.test_no_op_fraction, config.no_op_fraction),
        streams=_TEST,
    )
    fresh = dataclasses.replace(
        train,
        counts=_even(len(rules), config.num_test_examples),
        occurrences=test_numbers,
        no_op_fraction=test.no_op_fraction,
        streams=_FRESH,
    )
    return {"train": train, "test": test, "train_rules": fresh}


def _kinds(families: str, k: str) -> tuple[Kind, ...]:
    return tuple(Kind(*pair) for pair in families_of(families, k))


def _even(rules: int, examples: int) -> jt.Int64[np.ndarray, " I"]:
    return allocation.counts(np.full(rules, 1 / rules), examples)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
