"""Table 7: IT with the divergence from LLaMA-2-7B by its weight, on LIMA; 4 runs.

In one --workdir with table_3.py they are its runs, and not run again.

    python -m im_jax.sweep --config=configs/paper/table_7.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, data, methods, sweep
from im_jax.sweeps.definition import Comparison, Sweep

WEIGHTS = ("kl_0.01", "kl_0.1", "kl_1")


def get_sweep() -> Sweep:
    axes = {"data": data("lima"), "method": methods("it", *WEIGHTS)}
    comparisons = [Comparison("method", name, "it") for name in WEIGHTS]
    return sweep("Table 7", axes, measures=NLP_MEASURES, evaluations=NLP, comparisons=comparisons)
