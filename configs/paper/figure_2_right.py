"""Figure 2, right: IM against IT by the number of examples, at a ratio of about 10; 12 runs.

    python -m im_jax.sweep --config=configs/paper/figure_2_right.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.data.report import fits
from im_jax.studies.instruction_modelling import HELD_OUT, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Gain, Plot, Scale, Sweep, over

TIERS = SIZES

EXAMPLES = (1000, 2000, 5000, 10_000, 20_000, 35_000)
"""The paper says from 1,000 to 35,000 (appendix C), and not which numbers between."""


def get_sweep(tier: str = "full") -> Sweep:
    axes = {
        "data": {"tulu_v2_ratio_10": {**data("tulu_v2")["tulu_v2"], "data.subset.ratio": 10.0}},
        "examples": over("data.subset.examples", *EXAMPLES),
        "method": methods("it", "im"),
    }
    plot = Plot(x="examples", series="method", x_scale=Scale.LOG)
    comparison = Comparison("method", "im", "it")
    gain = Gain(HELD_OUT.name, x="examples", fit=fits.SIZE)
    whole = sweep("Figure 2, right,", axes, plot=plot, comparisons=(comparison,), gains=(gain,))
    return in_tier(whole, tier)
