"""String rewrites: inputs that a rule does not change, by their share and the number of training rules.

python -m im_jax.sweep --config=configs/sweeps/rewrites_no_ops.py --workdir=DIR [--tier=smoke|full]
"""

from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import Better, Plot, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
A share of the inputs, of training and of tests alike, does not hold the left side of its rule, and is to be
given back as it is. A model that always does so is right on just that share, so accuracy is measured apart on
inputs that change and on those that do not.

"""

RULES = {"smoke": (10, 300), "cpu": (100, 1000, 10_000), "full": (100, 300, 400, 500, 1000, 10_000, 100_000)}
SHARES = {"smoke": (0.5,), "cpu": (0.1, 0.5), "full": (0.1, 0.2, 0.3, 0.4, 0.5)}


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 12 runs; `full`: the paper's sizes."""
    return Sweep(
        title="Inputs that do not change, by the number of training rules",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=experiments.base(tier),
        axes={
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
            "no-op share": over("data.rewrites.no_op_fraction", *SHARES[tier]),
        },
        seeds=experiments.seeds(tier, 2),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.share("rewrites.unseen/has_op", "unseen rules, inputs that change", Better.HIGHER),
            experiments.share("rewrites.unseen/no_op", "unseen rules, inputs that do not", Better.HIGHER),
            experiments.share(
                "rewrites.train_rules/has_op", "its own rules, inputs that change", Better.HIGHER
            ),
            experiments.share("rewrites.unseen/copying", "always copying, all inputs"),
        ),
        plot=Plot(x="rules", series="no-op share", x_scale=Scale.LOG),
    )
