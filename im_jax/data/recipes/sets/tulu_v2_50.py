"""The first 50 % of each source of Tülu V2."""

import dataclasses

from im_jax.data.recipes.sets import tulu_v2

RECIPE = dataclasses.replace(
    tulu_v2.RECIPE,
    name="tulu_v2_50",
    title="Tülu V2, 50 %",
    share=0.5,
    share_by="dataset",
    paper=None,
    notes="Of each source the first 50 %, in the order of the files; what rounding leaves open is filled "
    "by the first further records. 163,077 of the published set; the paper took them of its own build.",
)
