"""Figure 5, below: IM against IT, LLaMA-2-13B on seven training sets; 14 runs.

    python -m im_jax.sweep --config=configs/paper/figure_5_llama_2_13b.py \\
        --config.model.path=Llama-2-13b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import LLAMA_2_13B, NLP, NLP_MEASURES, SEVEN, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Sweep

TIERS = SIZES


def get_sweep(tier: str = "full") -> Sweep:
    axes = {"data": data(*SEVEN), "method": methods("it", "im")}
    comparisons = (Comparison("method", "im", "it"),)
    whole = sweep(
        "Figure 5, below,", axes, LLAMA_2_13B, NLP_MEASURES, evaluations=NLP, comparisons=comparisons
    )
    return in_tier(whole, tier)
