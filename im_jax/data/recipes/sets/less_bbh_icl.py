"""LESS BBH ICL: what is most like BBH ICL, of 270,679 examples, by gradients."""

import dataclasses

from im_jax.data.recipes.recipe import PaperFigures
from im_jax.data.recipes.sets import less_mmlu_chat

RECIPE = dataclasses.replace(
    less_mmlu_chat.RECIPE,
    name="less_bbh_icl",
    title="LESS BBH ICL",
    files=(
        dataclasses.replace(
            less_mmlu_chat.RECIPE.files[0], name="bbh-icl_adam_sim_trainp0.05_seed3_p0.05.jsonl"
        ),
    ),
    paper=PaperFigures(13533, 61.44, 200.60, 3.265),
)
