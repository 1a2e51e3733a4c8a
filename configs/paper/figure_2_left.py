"""Figure 2, left: IM against IT by the ratio of instruction to output; 32 runs.

Thirteen training sets, and three subsets of Tülu V2 with a ratio (appendix C).

    python -m im_jax.sweep --config=configs/paper/figure_2_left.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import RATIO, SEVEN, data, methods, sweep
from im_jax.sweeps.definition import Plot, Scale, Sweep

OTHERS = ("tulu_v2", "code_alpaca", "stanford_alpaca", "science", "wizardlm", "sharegpt")
"""Of ShareGPT Table 5 has 50,000 examples, which is taken, and the figure 114k."""


def get_sweep() -> Sweep:
    whole = data("tulu_v2")["tulu_v2"]
    subsets = {
        f"tulu_v2_ratio_{ratio:g}": {**whole, "data.subset.examples": 3000, "data.subset.ratio": ratio}
        for ratio in (5.0, 10.0, 15.0)
    }
    axes = {"data": {**data(*SEVEN, *OTHERS), **subsets}, "method": methods("it", "im")}
    plot = Plot(x="data", series="method", x_scale=Scale.LOG, x_measure=RATIO)
    return sweep("Figure 2, left,", axes, plot=plot)
