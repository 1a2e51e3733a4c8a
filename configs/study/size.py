"""IM against IT by the number of training examples, on a small pretrained model (docs/study.md).

python -m im_jax.sweep --config=configs/study/size.py --workdir=DIR [--tier=smoke] \\
    --config.model.path=MODEL --config.tokenizer.path=TOKENIZER --config.data.path=FILES \\
    --local_data=DATA
"""

from im_jax.studies.small_models import methods, subset, sweep
from im_jax.sweeps.definition import Plot, Scale, Sweep

TIERS = ("smoke", "cpu")


def get_sweep(tier: str = "cpu") -> Sweep:
    counts = (30, 60) if tier == "smoke" else (75, 300, 600)
    axes = {
        "examples": {str(count): subset(examples=count) for count in counts},
        "method": methods("it", "im"),
    }
    plot = Plot(x="examples", series="method", x_scale=Scale.LOG)
    return sweep("IM against IT by the number of examples", tier, axes, plot=plot)
