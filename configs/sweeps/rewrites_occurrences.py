"""String rewrites: where the left side occurs several times and the leftmost one counts.

python -m im_jax.sweep --config=configs/sweeps/rewrites_occurrences.py --workdir=DIR [--tier=smoke|full]
"""

from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import SHARE, Axis, Plot, Profile, Reference, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
Only the leftmost occurrence is to be replaced. Runs differ in how many occurrences their training inputs
hold; all are tested on inputs with one to the most of them. The paper does not give the lengths of its table:
with 20 occurrences, inputs of 80 letters and rules of 2 are our choice for `full`.

"""

RULES = {"smoke": (300,), "cpu": (300, 3000), "full": (200, 500, 1000, 2000)}
LENGTHS = {"smoke": (12, 2), "cpu": (12, 2), "full": (80, 2)}
"""Letters of the input, and of each side of a rule."""
TRAINED = {
    "smoke": ("1", "1,2,4"),
    "cpu": ("1", "2", "4", "1,2,4"),
    "full": ("1", "10", "20", "1,5,10,15,20"),
}
TESTED = {"smoke": (1, 2, 3, 4), "cpu": (1, 2, 3, 4), "full": (1, 5, 10, 15, 20)}

PAPER = {
    "1": {"2000": 0.71, "1000": 0.41, "500": 0.00, "200": 0.00},
    "10": {"2000": 0.88, "1000": 0.71, "500": 0.00, "200": 0.00},
    "20": {"2000": 0.73, "1000": 0.28, "500": 0.07, "200": 0.00},
    "1,5,10,15,20": {"2000": 0.94, "1000": 0.94, "500": 0.62, "200": 0.00},
}
"""Accuracy by what was trained with, and by rules (arXiv:2402.10891, table on occurrences)."""


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 16 runs; `full`: the paper's numbers of rules."""
    return Sweep(
        title="Several occurrences of the left side",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=experiments.base(tier),
        axes={
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
            "trained with": _trained(tier),
        },
        seeds=experiments.seeds(tier, 2),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.UNSEEN,
            experiments.TRAIN_RULES,
            experiments.share("rewrites.unseen/errors/wrong_place", "another occurrence or place replaced"),
        ),
        plot=Plot(
            x="rules",
            series="trained with",
            references=[
                Reference("the paper", experiments.UNSEEN.name, points, series=trained)
                for trained, points in PAPER.items()
                if tier == "full"
            ],
        ),
        profiles=(
            Profile(
                "Accuracy on unseen rules by occurrences",
                x="occurrences",
                points={str(n): f"rewrites.unseen/occurrences_{n}" for n in TESTED[tier]},
                bounds=SHARE,
            ),
        ),
    )


def _trained(tier: str) -> Axis:
    """Occurrences in training, with what all points share: lengths with room for them, and the tests."""
    shared = experiments.lengths(tier, *LENGTHS[tier])
    shared["data.rewrites.test_occurrences"] = ",".join(map(str, TESTED[tier]))
    return {numbers: {"data.rewrites.occurrences": numbers} | shared for numbers in TRAINED[tier]}
