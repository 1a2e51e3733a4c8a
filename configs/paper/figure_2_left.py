"""Figure 2, left: IM against IT by the ratio of instruction to output; 32 runs.

Thirteen training sets, and three subsets of Tülu V2 with a ratio (appendix C).

    python -m im_jax.sweep --config=configs/paper/figure_2_left.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.data.report import fits
from im_jax.studies.instruction_modelling import HELD_OUT, RATIO, SEVEN, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Gain, Plot, Scale, Sweep

TIERS = SIZES

OTHERS = ("tulu_v2", "code_alpaca", "stanford_alpaca", "science", "wizardlm", "sharegpt")
"""Of ShareGPT Table 5 has 50,000 examples, which is taken, and the figure 114k."""


def get_sweep(tier: str = "full") -> Sweep:
    tulu = data("tulu_v2")["tulu_v2"]
    subsets = {
        f"tulu_v2_ratio_{ratio:g}": {**tulu, "data.subset.examples": 3000, "data.subset.ratio": ratio}
        for ratio in (5.0, 10.0, 15.0)
    }
    axes = {"data": {**data(*SEVEN, *OTHERS), **subsets}, "method": methods("it", "im")}
    plot = Plot(x="data", series="method", x_scale=Scale.LOG, x_measure=RATIO)
    comparison = Comparison("method", "im", "it")
    gain = Gain(HELD_OUT.name, x="data", x_measure=RATIO, fit=fits.RATIO)
    whole = sweep("Figure 2, left,", axes, plot=plot, comparisons=(comparison,), gains=(gain,))
    return in_tier(whole, tier, sets=5, smoke_sets=3)
