"""Table 2: BLEU on training instructions after IT and IM, LLaMA-2-7B on seven training sets; 14 runs.

Losses on training and held-out outputs, as in Figure 3, are measured too. 50 examples of each set are held
out, which the paper's runs were trained on: overfitting shows against what was not seen.

    python -m im_jax.sweep --config=configs/paper/table_2.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import BLEU, LEARNED, LEARNED_MEASURES, SEVEN, data, methods, sweep
from im_jax.studies.instruction_modelling_tiers import SIZES, in_tier
from im_jax.sweeps.definition import Comparison, Plot, Reference, Sweep

TIERS = SIZES

PUBLISHED = {
    "it": (72.26, 60.99, 61.76, 69.21, 72.43, 60.96, 18.15),
    "im": (70.50, 59.04, 60.61, 65.63, 69.20, 53.94, 17.30),
}
"""Of the paper, by method and in the order of the sets."""


def get_sweep(tier: str = "full") -> Sweep:
    references = [
        Reference("Shi et al. (2024), Table 2", BLEU.name, dict(zip(SEVEN, scores, strict=True)), method)
        for method, scores in PUBLISHED.items()
    ]
    whole = sweep(
        "Table 2",
        {"data": data(*SEVEN), "method": methods("it", "im")},
        measures=LEARNED_MEASURES,
        evaluations=LEARNED,
        comparisons=(Comparison("method", "im", "it"),),
        plot=Plot(x="data", series="method", references=references),
    )
    whole.base.eval.num_examples = 50
    return in_tier(whole, tier)
