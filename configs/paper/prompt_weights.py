"""Between IT and IM: the weight of instruction tokens, LLaMA-2-7B on three training sets; 18 runs.

Not of the paper. 
Weight 0 is IT, 1 is IM. Of the sets, one has instructions a tenth as long as its outputs, one two thirds, and
one 26 times. 0.24 is where Huerta-Enochian and Ko (EMNLP 2024) found the best of their fits. The loss is the
mean of each example, so that a larger weight also leaves outputs a smaller share of it; with
--config.loss.reduction=nonzero_count it is as in Chatterjee et al. (TACL 2025).

    python -m im_jax.sweep --config=configs/paper/prompt_weights.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import LEARNED, LEARNED_MEASURES, data, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Plot, Sweep

TIERS = SIZES
WEIGHTS = (0.0, 0.05, 0.1, 0.24, 0.5, 1.0)
CLASSES = ("user", "system", "tool")
"""What IM trains and IT does not."""


def get_sweep(tier: str = "full") -> Sweep:
    weights = {
        f"{weight:g}": {"loss.policy": "im"} | {f"loss.weights.{name}": weight for name in CLASSES}
        for weight in WEIGHTS
    }
    whole = sweep(
        "The weight of instructions, with the runs",
        {"data": data("lima", "alpagasus_dolly_3k", "less_mmlu_chat"), "weight": weights},
        measures=LEARNED_MEASURES,
        evaluations=LEARNED,
        comparisons=[Comparison("weight", f"{weight:g}", "0") for weight in WEIGHTS[1:]],
        plot=Plot(x="weight", series="data"),
    )
    whole.base.eval.num_examples = 50
    return in_tier(whole, tier)
