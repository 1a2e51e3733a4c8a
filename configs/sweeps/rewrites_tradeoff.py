"""String rewrites: many rules with few examples each, or few rules with many, at several numbers of examples.

python -m im_jax.sweep --config=configs/sweeps/rewrites_tradeoff.py --workdir=DIR [--tier=smoke|full]
"""

from typing import Any

from im_jax.config import with_overrides
from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import Kind, Labels, Plot, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
Examples are what data costs, and a number of them can be spent on rules or on examples of each. Every column
has one number of examples, and every run as many steps: with few examples it sees each of them more often.
Combinations with fewer examples than rules are left out.

"""

RULES = {
    "smoke": (10, 30),
    "cpu": (100, 300, 1000, 3000, 10_000),
    "full": (100, 300, 500, 1000, 10_000, 100_000),
}
EXAMPLES = {
    "smoke": (100, 1000),
    "cpu": (1000, 3000, 10_000, 30_000, 100_000),
    "full": (1000, 10_000, 100_000, 1_000_000),
}
"""In all, over all rules."""
STEPS: dict[str, dict[str, Any]] = {
    "smoke": {},
    "cpu": {"train.steps": 1200},
    "full": {"train.epochs": 0, "train.steps": 97_656},
}
"""In `full` those of 50 passes over a million examples, as the paper has."""


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 66 runs; `full`: the paper's model, lengths and steps."""
    return Sweep(
        title="Rules against examples of each",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=with_overrides(experiments.base(tier), STEPS[tier]),
        axes={
            "examples": over("data.rewrites.num_examples", *EXAMPLES[tier]),
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
        },
        seeds=experiments.seeds(tier, 3),
        seed_fields=experiments.SEED_FIELDS,
        measures=(experiments.UNSEEN, experiments.TRAIN_RULES),
        plot=Plot(x="examples", series="rules", kind=Kind.HEAT_MAP),
        where=_enough,
    )


def _enough(labels: Labels) -> bool:
    """Whether every rule has an example."""
    return int(labels["examples"]) >= int(labels["rules"])
