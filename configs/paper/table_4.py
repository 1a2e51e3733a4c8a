"""Table 4: IM with NEFTune and without, LLaMA-2-7B on seven training sets; 14 runs.

    python -m im_jax.sweep --config=configs/paper/table_4.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import SEVEN, data, methods, sweep
from im_jax.sweeps.definition import Sweep


def get_sweep() -> Sweep:
    return sweep("Table 4", {"data": data(*SEVEN), "method": methods("im", "im_neftune")})
