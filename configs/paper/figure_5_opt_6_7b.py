"""Figure 5, above: IM against IT, OPT-6.7B on seven training sets; 14 runs.

    python -m im_jax.sweep --config=configs/paper/figure_5_opt_6_7b.py \\
        --config.model.path=opt-6.7b --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import OPT_6_7B, SEVEN, data, methods, sweep
from im_jax.sweeps.definition import Sweep


def get_sweep() -> Sweep:
    return sweep("Figure 5, above,", {"data": data(*SEVEN), "method": methods("it", "im")}, OPT_6_7B)
