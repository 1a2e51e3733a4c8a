"""Table 4: IM with NEFTune and without, LLaMA-2-7B on seven training sets; 14 runs.

    python -m im_jax.sweep --config=configs/paper/table_4.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, SEVEN, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Sweep

TIERS = SIZES


def get_sweep(tier: str = "full") -> Sweep:
    axes = {"data": data(*SEVEN), "method": methods("im", "im_neftune")}
    comparisons = (Comparison("method", "im_neftune", "im"),)
    whole = sweep("Table 4", axes, measures=NLP_MEASURES, evaluations=NLP, comparisons=comparisons)
    return in_tier(whole, tier)
