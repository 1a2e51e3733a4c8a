"""String rewrites: the transition with longer strings and longer rules.

python -m im_jax.sweep --config=configs/sweeps/rewrites_lengths.py --workdir=DIR [--tier=smoke|full]
"""

from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import Axis, Plot, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
The same experiment as that on the number of rules, at several lengths: letters of the input, and of each side
of a rule. The paper finds the transition at about the same number of rules at all of its lengths.

"""

RULES = {"smoke": (300,), "cpu": (100, 1000, 10_000), "full": (100, 300, 500, 1000, 10_000)}
LENGTHS = {
    "smoke": ((6, 2), (8, 3)),
    "cpu": ((6, 2), (8, 3), (10, 2)),
    "full": ((50, 20), (100, 40), (200, 50)),
}


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: a minute; `cpu`: 18 runs; `full`: the paper's sizes."""
    return Sweep(
        title="Rewriting by unseen rules, by lengths",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=experiments.base(tier),
        axes={
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
            "letters": _lengths(tier),
        },
        seeds=experiments.seeds(tier, 2),
        seed_fields=experiments.SEED_FIELDS,
        measures=(experiments.UNSEEN, experiments.TRAIN_RULES),
        plot=Plot(x="rules", series="letters", x_scale=Scale.LOG),
    )


def _lengths(tier: str) -> Axis:
    """Points `INPUT/SIDE`, with rows and positions that just hold them."""
    return {f"{letters}/{side}": experiments.lengths(tier, letters, side) for letters, side in LENGTHS[tier]}
