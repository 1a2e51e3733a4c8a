"""Tables 3 and 7: IT with the divergence from LLaMA-2-7B and without; 6 runs.

    python -m im_jax.sweep --config=configs/paper/table_3.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, data, methods, sweep
from im_jax.sweeps.definition import Labels, Sweep


def in_a_table(labels: Labels) -> bool:
    """Table 3 has no divergence and weight 1; Table 7 has other weights too, of LIMA by its numbers."""
    return labels["data"] == "lima" or labels["method"] in ("it", "kl_1")


def get_sweep() -> Sweep:
    axes = {
        "data": data("lima", "alpagasus_dolly_9k"),
        "method": methods("it", "kl_0.01", "kl_0.1", "kl_1"),
    }
    return sweep("Tables 3 and 7", axes, measures=NLP_MEASURES, evaluations=NLP, where=in_a_table)
