"""String rewrites: whole Markov programs run by a model that applies one rule, by its number of rules.

python -m im_jax.sweep --config=configs/sweeps/rewrites_programs.py --workdir=DIR [--tier=smoke|full]
"""

from typing import Any

from im_jax.config import Config, with_overrides
from im_jax.studies.rewrites import experiments
from im_jax.studies.rewrites.markov.programs import BUCKETS
from im_jax.sweeps.definition import SHARE, Better, Plot, Profile, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
A model is trained to apply one rule to one string. Then it is made the part of a Markov machine that applies
rules, and runs whole programs: in each step it is asked for every rule of the program in order, and the first
that changes the string has applied. A run is right if it ends, and with the right string, so that one wrong
answer on the way can spoil it. Programs are `random` rules that training has not, or such as `sort` letters.
The alphabet is a to e: texts of programs are of few letters, where left sides are often there in part, and a
model that has learned on many letters is lost in them. Inputs hold a left side once or twice, and 40 % do
not.

"""

RULES = {"smoke": (10, 300), "cpu": (30, 100, 400), "full": (30, 100, 200, 300, 400)}
"""Of 600 that there are."""
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"data.rewrites.num_programs": 20, "data.rewrites.eval_batch_size": 64},
    "cpu": {"train.steps": 6000},
    "full": experiments.lengths("full", 10, 2) | {"data.rewrites.step_limit": 50},
}


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 6 runs; `full`: the paper's model and data, on strings of 10 letters."""
    return Sweep(
        title="Running whole programs, by the number of training rules",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=_base(tier),
        axes={"rules": over("data.rewrites.num_rules", *RULES[tier])},
        seeds=experiments.seeds(tier, 2),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.UNSEEN,
            experiments.share(
                "rewrites.programs/random/accuracy", "random programs run right", Better.HIGHER
            ),
            experiments.share("rewrites.programs/sort/accuracy", "sorting programs run right", Better.HIGHER),
            experiments.share("rewrites.programs/random/step_accuracy", "their single answers, random"),
            experiments.share("rewrites.programs/sort/step_accuracy", "their single answers, sorting"),
            experiments.share(
                "rewrites.programs/sort/seen_rules", "rules of sorting programs that training has"
            ),
        ),
        plot=Plot(x="rules", x_scale=Scale.LOG),
        profiles=tuple(
            Profile(
                f"{kind.capitalize()} programs {title}",
                "steps",
                _points(kind, prefix),
                better=better,
                bounds=SHARE,
            )
            for kind in ("random", "sort")
            for title, prefix, better in (
                ("run right", "", Better.HIGHER),
                ("if errors were independent", "expected_", Better.NEITHER),
            )
        ),
    )


def _base(tier: str) -> Config:
    shared = {
        "data.rewrites.alphabet": "abcde",
        "data.rewrites.occurrences": "1,2",
        "data.rewrites.no_op_fraction": 0.4,
        "data.rewrites.num_test_rules": 100,
        "data.rewrites.programs": "random,sort",
        "data.rewrites.program_letters": 4,
    }
    return with_overrides(experiments.base(tier), shared | SIZES[tier])


def _points(kind: str, prefix: str) -> dict[str, str]:
    """Names in summary.json, by the numbers of steps of each group: `4`, `5-6`, `10 or more`."""
    return {_steps(name): f"rewrites.programs/{kind}/{prefix}{name}" for name in BUCKETS}


def _steps(bucket: str) -> str:
    return bucket.removeprefix("steps_").replace("_up", " or more").replace("_", "-")
