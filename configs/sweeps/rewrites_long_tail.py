"""String rewrites: few rules with most of the examples, against the effective number of rules.

python -m im_jax.sweep --config=configs/sweeps/rewrites_long_tail.py --workdir=DIR [--tier=smoke|full]
"""

from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import NOT_NEGATIVE, Axis, Measure, Plot, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
All runs have the same number of examples; the smaller alpha, the more of them are of few rules. Drawn against
the effective number of rules: that of equally frequent ones that are as diverse (the inverse of the sum of
squared shares). `data.rewrites.allocation=long_tail` draws each rule's weight from the density
alpha x^(alpha - 1), which fits all that the paper says of it; `long_tail_by_rank` is the other reading.

"""

RULES = {"smoke": (300,), "cpu": (1000, 10_000), "full": (1000, 10_000, 100_000)}
ALPHAS = {
    "smoke": (0.2,),
    "cpu": (0.5, 0.1, 0.03),
    "full": (2.0, 1.0, 0.5, 0.2, 0.1, 0.07, 0.03),
}

EFFECTIVE = Measure("rewrites.effective_rules", "effective number of rules", bounds=NOT_NEGATIVE)


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 16 runs; `full`: the paper's sizes."""
    return Sweep(
        title="A long tail of rules",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=experiments.base(tier),
        axes={
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
            "alpha": _shapes(tier),
        },
        seeds=experiments.seeds(tier, 2),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.UNSEEN,
            experiments.TRAIN_RULES,
            EFFECTIVE,
        ),
        plot=Plot(x="alpha", series="rules", x_measure=EFFECTIVE, x_scale=Scale.LOG),
    )


def _shapes(tier: str) -> Axis:
    tails = {
        f"{alpha:g}": {"data.rewrites.allocation": "long_tail", "data.rewrites.alpha": alpha}
        for alpha in ALPHAS[tier]
    }
    return {"uniform": {"data.rewrites.allocation": "uniform"}} | tails
