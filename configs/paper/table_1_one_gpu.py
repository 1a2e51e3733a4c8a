"""Table 1 on one GPU: IT, NEFTune and IM, with adapters beside LLaMA-2-7B in 4 bits; 21 runs.

    python -m im_jax.sweep --config=configs/paper/table_1_one_gpu.py \\
        --config.model.path=Llama-2-7b-hf --config.data.path=FILES
"""

from im_jax.studies.instruction_modelling import NLP, NLP_MEASURES, SEVEN, data, methods, on_one_gpu, sweep
from im_jax.sweeps.definition import Sweep


def get_sweep() -> Sweep:
    axes = {"data": data(*SEVEN), "method": methods("it", "neftune", "im")}
    return on_one_gpu(sweep("Table 1", axes, measures=NLP_MEASURES, evaluations=NLP))
