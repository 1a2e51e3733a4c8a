"""Table 4 on one GPU: IM with NEFTune and without, with adapters beside LLaMA-2-7B in 4 bits; 14 runs.

    python -m im_jax.sweep --config=configs/paper/table_4_one_gpu.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, SEVEN, data, methods, on_one_gpu, sweep
from im_jax.sweeps.definition import Sweep


def get_sweep() -> Sweep:
    axes = {"data": data(*SEVEN), "method": methods("im", "im_neftune")}
    return on_one_gpu(sweep("Table 4", axes, measures=NLP_MEASURES, evaluations=NLP))
