"""String rewrites: loss on rule and string too (IM) against loss on the answer (IT), by the number of rules.

python -m im_jax.sweep --config=configs/sweeps/rewrites_im_and_it.py --workdir=DIR [--tier=smoke|full]
"""

from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import NOT_NEGATIVE, Better, Measure, Plot, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
The rule and the string are random letters, of which nothing can be learned but how often letters are alike:
an instruction that holds no information on the answer's language, the opposite of what Instruction Modelling
profits from. Whether the loss on it disturbs is what this measures.

"""

RULES = {"smoke": (300,), "cpu": (100, 1000, 10_000), "full": (100, 300, 400, 500, 600, 1000, 10_000)}


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: half a minute; `cpu`: 18 runs; `full`: the paper's sizes."""
    return Sweep(
        title="IM against IT on string rewrites",
        description=DESCRIPTION + experiments.OPEN_CHOICES,
        base=experiments.base(tier),
        axes={
            "policy": over("loss.policy", "im", "it"),
            "rules": over("data.rewrites.num_rules", *RULES[tier]),
        },
        seeds=experiments.seeds(tier, 3),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.UNSEEN,
            experiments.TRAIN_RULES,
            Measure("heldout.nll/assistant", "held-out loss of answers", "nats", Better.LOWER, NOT_NEGATIVE),
        ),
        plot=Plot(x="rules", series="policy", x_scale=Scale.LOG),
    )
