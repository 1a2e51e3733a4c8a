"""Figure 5, below: IM against IT, LLaMA-2-13B on seven training sets; 14 runs.

    python -m im_jax.sweep --config=configs/paper/figure_5_llama_2_13b.py \\
        --config.model.path=Llama-2-13b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import LLAMA_2_13B, SEVEN, data, methods, sweep
from im_jax.sweeps.definition import Sweep


def get_sweep() -> Sweep:
    return sweep("Figure 5, below,", {"data": data(*SEVEN), "method": methods("it", "im")}, LLAMA_2_13B)
