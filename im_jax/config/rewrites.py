"""`data.rewrites`: examples of rewriting a string by a rule `x -> y`, and what is asked of the trained model.

The input's leftmost x is replaced by y; an input without x is the answer itself, a no-op. Fields that hold
several values are joined by commas. `im_jax.config.rewrites_checks` says what must fit together.
"""

from dataclasses import dataclass
from typing import Final

from im_jax.config.record import ABOVE_ZERO, SHARE, Decides, at_least, setting

FAMILIES: Final = ("free", "repeated", "periodic", "mirrored")
PROGRAMS: Final = ("random", "sort")
_PROGRAMS_PAGE: Final = "rewrites.md#running-whole-programs"


@dataclass
class RewritesConfig:
    """String rewrites: rules, inputs, tests, programs."""

    num_rules: int = setting(
        1000, "Different rules in training: the diversity of instructions.", bounds=at_least(1)
    )
    num_examples: int = setting(100_000, "Training examples in all, over all rules.", bounds=at_least(1))
    alphabet: str = setting("abcdefghijklmnopqrstuvwxyz", "Letters that everything is made of.")
    left_length: int = setting(20, "Letters of x in a rule x -> y.", bounds=at_least(1))
    right_length: int = setting(20, "Letters of y; 0: rules that delete.", bounds=at_least(0))
    input_length: int = setting(50, "Letters of the string that is rewritten.", bounds=at_least(1))
    occurrences: str = setting(
        "1", "How often x stands in inputs that have it: numbers joined by commas, in equal shares."
    )
    no_op_fraction: float = setting(0.0, "Share of inputs without x, alike for every rule.", bounds=SHARE)
    allocation: str = setting(
        "uniform",
        "Examples per rule: `uniform`; `long_tail`: random weights of density alpha x^(alpha - 1); "
        "`long_tail_by_rank`: that density at evenly spaced ranks.",
        choices=("uniform", "long_tail", "long_tail_by_rank"),
    )
    alpha: float = setting(
        1.0,
        "Shape of the long tail: the smaller, the fewer rules have most of the examples.",
        bounds=ABOVE_ZERO,
    )
    families: str = setting(
        "free", "What both sides of a rule are made of, joined by commas.", choices=FAMILIES, several=True
    )
    k: str = setting(
        "1", "How restricted the families are: L letters have L / k free ones; numbers joined by commas."
    )
    unseen: str = setting(
        "rule",
        "What test rules share with no training rule: the `rule`, its `left` or `right` side, or `both`.",
        choices=("rule", "left", "right", "both"),
    )
    num_test_rules: int = setting(1000, "Rules that training never sees.", bounds=at_least(1))
    num_test_examples: int = setting(
        2000, "Examples of unseen rules, and as many of training rules on new inputs.", bounds=at_least(1)
    )
    test_occurrences: str = setting("", "As `occurrences`, in tests; empty: the same.")
    test_no_op_fraction: float | None = setting(
        None, "As `no_op_fraction`, in tests; none: the same.", bounds=SHARE
    )
    test_families: str = setting(
        "", "As `families`, in tests; empty: the same.", choices=FAMILIES, several=True
    )
    test_k: str = setting("", "As `k`, in tests; empty: the same.")
    prompt: str = setting(
        "{left}>{right}:{input}", "How rule and input are written as an instruction, in any order and words."
    )
    eval_batch_size: int = setting(
        512, "Answers that are decoded at a time.", bounds=at_least(1), decides=Decides.SPEED
    )
    programs: str = setting(
        "",
        "Markov programs that the trained model is made to run, joined by commas; empty: none.",
        choices=PROGRAMS,
        several=True,
        see=_PROGRAMS_PAGE,
    )
    num_programs: int = setting(500, "Programs of each kind, each run on one input.", bounds=at_least(1))
    program_rules: int = setting(
        3, "Rules of a `random` program, none of which training has.", bounds=at_least(1)
    )
    program_letters: int = setting(
        3, "Letters that a program and its input are made of, others for each program.", bounds=at_least(1)
    )
    step_limit: int = setting(30, "Rewrites after which the run of a program is cut off.", bounds=at_least(1))
