"""IM against IT by the ratio of instruction to output, on a small pretrained model (docs/study.md).

python -m im_jax.sweep --config=configs/study/ratio.py --workdir=DIR [--tier=smoke] \\
    --config.model.path=MODEL --config.tokenizer.path=TOKENIZER --config.data.path=FILES \\
    --local_data=DATA
"""

from im_jax.studies.small_models import methods, subset, sweep
from im_jax.sweeps.definition import Plot, Scale, Sweep

TIERS = ("smoke", "cpu")


def get_sweep(tier: str = "cpu") -> Sweep:
    ratios = (0.5, 5.0) if tier == "smoke" else (0.5, 2.0, 5.0)
    axes = {"ratio": {f"{ratio:g}": subset(ratio=ratio) for ratio in ratios}, "method": methods("it", "im")}
    plot = Plot(x="ratio", series="method", x_scale=Scale.LOG)
    return sweep("IM against IT by the ratio of instruction to output", tier, axes, plot=plot)
