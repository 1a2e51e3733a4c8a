"""String rewrites: rules of one, two and three families, tested on less restricted ones.

python -m im_jax.sweep --config=configs/sweeps/rewrites_families.py --workdir=DIR [--tier=smoke|full]
"""

from typing import Any

from im_jax.config import with_overrides
from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import Axis, Better, Plot, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
Both sides of a training rule are made of few letters, each of which comes k times: `aabb`, `abab` and `abba`
have k = 2. The sides of test rules are less restricted, down to k = 1, where any letter may stand anywhere.
The paper trains on k of 3 and more and tests on 1 and 2; so does `full`. The smaller sizes have sides of 12
letters, train on all of 2, 3, 4 and 6, and test on 1. All runs are tested on the same rules.

Every family and k is a pattern of its own, by which a right side can be written without being read letter by
letter. Sides of 12 have four a family, so that three families have twelve: too many to tell apart, and one
way to copy serves them all. Sides of 4 have one a family, and three families carried over to nothing.

"""

FAMILIES = {
    "one": "repeated",
    "two": "repeated,periodic",
    "three": "repeated,periodic,mirrored",
}
RULES = {"smoke": (300,), "cpu": (10_000,), "full": (500, 1000, 2000, 5000, 10_000)}
LENGTHS = {"smoke": (16, 12), "cpu": (16, 12), "full": (500, 60)}
"""Letters of the input, and of each side of a rule."""
TRAINED = {"smoke": "2,3,4,6", "cpu": "2,3,4,6", "full": "3,4,5,6,10,12,15,20"}
"""k of the training rules: divisors of the sides' length with enough strings."""
TESTED = {"smoke": "1", "cpu": "1", "full": "1,2"}
STEPS: dict[str, dict[str, Any]] = {"smoke": {}, "cpu": {"train.steps": 8000}, "full": {}}
"""Time to learn rules of these lengths."""


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 6 runs of a quarter of an hour; `full`: the paper's sizes."""
    return Sweep(
        title="Rules of one, two and three families, tested on less restricted ones",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=with_overrides(experiments.base(tier), STEPS[tier]),
        axes={
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
            "families": _families(tier),
        },
        seeds=experiments.seeds(tier, 2),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.share("rewrites.unseen/accuracy", "accuracy on less restricted rules", Better.HIGHER),
            experiments.TRAIN_RULES,
            experiments.share("rewrites.unseen/errors/wrong_place", "the right string in another place"),
            experiments.share("rewrites.unseen/errors/wrong_string", "another string in the right place"),
        ),
        plot=Plot(x="rules", series="families", x_scale=Scale.LOG) if tier == "full" else Plot(x="families"),
    )


def _families(tier: str) -> Axis:
    """What is trained on, with what all points share: lengths that k divides, and the tests."""
    shared = experiments.lengths(tier, *LENGTHS[tier]) | {
        "data.rewrites.k": TRAINED[tier],
        "data.rewrites.test_k": TESTED[tier],
        "data.rewrites.test_families": FAMILIES["three"],
    }
    return {label: {"data.rewrites.families": names} | shared for label, names in FAMILIES.items()}
