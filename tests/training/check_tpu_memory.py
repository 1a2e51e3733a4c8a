"""Compiles the step for slices of TPUs that are not here, up to where its memory is known: what a chip holds and sends.

    python -m tests.training.check_tpu_memory [NAME ...]

Needs libtpu, and some seconds for each case. Memory is what the compiler compares with a chip's, arguments included.
"""

import dataclasses
import sys
from dataclasses import dataclass
from typing import Final

from configs import llama2_7b
from im_jax.config import Config, ModelConfig
from im_jax.models import presets
from im_jax.pods.compiling import compile_step
from im_jax.pods.topology import parse

GIB: Final = 2**30


@dataclass(frozen=True)
class Case:
    """A model on a slice, rows of 2048 tokens, and the bounds that hold."""

    model: ModelConfig
    topology: str
    rows: int
    peak: float
    """GiB that a chip holds at most."""
    reduced: float
    """GiB that a chip adds up with others in a step, at most."""


CASES: Final = {
    "7b_v5e_8x8": Case(presets.llama2_7b(), "v5e:8x8", 128, peak=3.54, reduced=12.5),
    # Its tokens are what fills a chip, which has 15.75 GiB.
    "7b_v5e_8x8_1280_rows": Case(presets.llama2_7b(), "v5e:8x8", 1280, peak=14.75, reduced=12.5),
    "7b_v5p_2x2x4": Case(presets.llama2_7b(), "v5p:2x2x4", 128, peak=13.50, reduced=12.5),
    "13b_v5p_2x4x4": Case(presets.llama2_13b(), "v5p:2x4x4", 128, peak=11.31, reduced=24.5),
    # Its compiler makes additions of gathers.
    "13b_v5p_4x4x4": Case(presets.llama2_13b(), "v5p:4x4x4", 128, peak=5.84, reduced=72.0),
}


def configured(case: Case) -> Config:
    """`configs/llama2_7b.py` with the model, from scratch, and the rows of a case."""
    config = llama2_7b.get_config()
    config.model = dataclasses.replace(case.model, compute_dtype="bfloat16", remat="full")
    config.train = dataclasses.replace(config.train, batch_size=case.rows, reduce_dtype="bfloat16")
    return config


def main() -> None:
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        found = compile_step(configured(case), parse(case.topology), until_code=False)
        peak = found.needed / GIB
        kinds = ", ".join(f"{each.kind} {each.bytes / GIB:.3f}" for each in found.collectives)
        print(f"{name}: {peak:.3f} GiB a chip (at most {case.peak}); GiB sent: {kinds}", flush=True)
        assert peak <= case.peak, name
        summed = [each.bytes for each in found.collectives if each.kind in ("all-reduce", "reduce-scatter")]
        assert sum(summed) <= case.reduced * GIB, name


if __name__ == "__main__":
    main()
