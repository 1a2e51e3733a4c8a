"""String rewrites: accuracy on unseen rules by the number of training rules, at equal examples and steps.

python -m im_jax.sweep --config=configs/sweeps/rewrites_rules.py --workdir=DIR [--tier=smoke|full]
"""

from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import Plot, Reference, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
Every run has the same number of examples and of steps; what changes is how many different rules the examples
are of. With few rules a model learns these rules, with many it learns to follow a rule that it reads.

"""

PAPER = {
    "10": 0.0,
    "100": 0.0,
    "300": 0.0,
    "400": 0.13,
    "500": 0.85,
    "600": 0.93,
    "1000": 0.98,
    "2000": 0.985,
    "5000": 0.985,
    "10000": 0.994,
    "100000": 0.990,
}
"""Read off the figure to +-0.005 (arXiv:2402.10891): inputs of 50 letters, rules of 20, 10^6 examples."""

RULES = {
    "smoke": (10, 300),
    "cpu": (10, 30, 100, 300, 1000, 3000, 10000),
    "full": (100, 300, 400, 500, 600, 1000, 10000),
}


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: the transition, on a smaller task; `full`: the paper's sizes."""
    rules = RULES[tier]
    drawn = {count: accuracy for count, accuracy in PAPER.items() if rules[0] <= int(count) <= rules[-1]}
    return Sweep(
        title="Rewriting by unseen rules, by the number of training rules",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=experiments.base(tier),
        axes={"rules": over("data.rewrites.num_rules", *rules)},
        seeds=experiments.seeds(tier, 3),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.UNSEEN,
            experiments.TRAIN_RULES,
            experiments.share("rewrites.unseen/errors/copied", "the string given back"),
            experiments.share("rewrites.unseen/errors/wrong_string", "another string in the right place"),
        ),
        plot=Plot(
            x="rules",
            x_scale=Scale.LOG,
            references=(Reference("the paper, at its sizes", measure=experiments.UNSEEN.name, points=drawn),),
        ),
    )
