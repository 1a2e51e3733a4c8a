"""Figure 6: IM against IT on 10, 20, 50 and 100 % of Tülu V2, LLaMA-2-7B; 8 runs.

    python -m im_jax.sweep --config=configs/paper/figure_6.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Sweep

TIERS = SIZES


def get_sweep(tier: str = "full") -> Sweep:
    shares = data("tulu_v2_10", "tulu_v2_20", "tulu_v2_50", "tulu_v2")
    return in_tier(sweep("Figure 6", {"data": shares, "method": methods("it", "im")}), tier)
