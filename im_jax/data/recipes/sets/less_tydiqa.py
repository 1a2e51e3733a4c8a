"""LESS Tydiqa: what is most like Tydiqa, of 270,679 examples, by gradients."""

import dataclasses

from im_jax.data.recipes.recipe import PaperFigures
from im_jax.data.recipes.sets import less_mmlu_chat

RECIPE = dataclasses.replace(
    less_mmlu_chat.RECIPE,
    name="less_tydiqa",
    title="LESS Tydiqa",
    files=(
        dataclasses.replace(
            less_mmlu_chat.RECIPE.files[0], name="tydiqa_adam_sim_trainp0.05_seed3_p0.05.jsonl"
        ),
    ),
    paper=PaperFigures(13533, 25.13, 147.31, 5.862),
)
