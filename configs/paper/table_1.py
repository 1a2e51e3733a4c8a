"""Table 1: LLaMA-2-7B on seven training sets by IT, NEFTune and IM; 21 runs.

    python -m im_jax.sweep --config=configs/paper/table_1.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, SEVEN, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Sweep

TIERS = SIZES


def get_sweep(tier: str = "full") -> Sweep:
    axes = {"data": data(*SEVEN), "method": methods("it", "neftune", "im")}
    comparisons = (Comparison("method", "im", "it"), Comparison("method", "im", "neftune"))
    whole = sweep("Table 1", axes, measures=NLP_MEASURES, evaluations=NLP, comparisons=comparisons)
    return in_tier(whole, tier)
