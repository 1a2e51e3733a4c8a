"""Figure 5, above: IM against IT, OPT-6.7B on seven training sets; 14 runs.

    python -m im_jax.sweep --config=configs/paper/figure_5_opt_6_7b.py \\
        --config.model.path=opt-6.7b --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, OPT_6_7B, SEVEN, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Sweep

TIERS = SIZES


def get_sweep(tier: str = "full") -> Sweep:
    axes = {"data": data(*SEVEN), "method": methods("it", "im")}
    comparisons = (Comparison("method", "im", "it"),)
    whole = sweep("Figure 5, above,", axes, OPT_6_7B, NLP_MEASURES, evaluations=NLP, comparisons=comparisons)
    return in_tier(whole, tier)
