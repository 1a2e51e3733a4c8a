"""IM, IT, weights between them, noise and divergence, on a small pretrained model (docs/study.md).

python -m im_jax.sweep --config=configs/study/methods.py --workdir=DIR [--tier=smoke] \\
    --config.model.path=MODEL --config.tokenizer.path=TOKENIZER --config.data.path=FILES \\
    --local_data=DATA
"""

from im_jax.studies.small_models import METHODS, methods, subset, sweep
from im_jax.sweeps.definition import Plot, Sweep

TIERS = ("smoke", "cpu")


def get_sweep(tier: str = "cpu") -> Sweep:
    axes = {"method": methods(*METHODS), "data": {"ratio 5": subset()}}
    return sweep("Methods", tier, axes, plot=Plot(x="method"))
