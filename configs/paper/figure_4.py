"""Figure 4: IM against IT by the number of epochs, LLaMA-2-7B on five training sets; 50 runs.

Each number of epochs is a run of its own, whose rate falls to 0. The released code keeps the model after each
epoch of one run, and the paper does not say which of the two its figure shows.

    python -m im_jax.sweep --config=configs/paper/figure_4.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Plot, Sweep, over

TIERS = SIZES

SETS = ("lima", "alpagasus_dolly_9k", "alpagasus_dolly_3k", "less_mmlu_chat", "less_tydiqa")


def get_sweep(tier: str = "full") -> Sweep:
    axes = {
        "data": over("data.recipe", *SETS),
        "epochs": {str(epochs): {"train.epochs": float(epochs)} for epochs in (2, 4, 6, 8, 10)},
        "method": methods("it", "im"),
    }
    plot = Plot(x="epochs", series="method")
    whole = sweep("Figure 4", axes, measures=NLP_MEASURES, evaluations=NLP, plot=plot)
    return in_tier(whole, tier, sets=1)
