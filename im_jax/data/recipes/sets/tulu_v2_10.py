"""The first 10 % of each source of Tülu V2."""

import dataclasses

from im_jax.data.recipes.sets import tulu_v2

RECIPE = dataclasses.replace(
    tulu_v2.RECIPE,
    name="tulu_v2_10",
    title="Tülu V2, 10 %",
    share=0.1,
    share_by="dataset",
    paper=None,
    notes="Of each source the first 10 %, in the order of the files; what rounding leaves open is filled "
    "by the first further records. 32,615 of the published set; the paper took them of its own build.",
)
