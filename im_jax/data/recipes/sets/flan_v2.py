"""FLAN V2: the 50,000 examples that Tülu V2 has of it."""

from im_jax.data.recipes.conversions import Exchange
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="flan_v2",
    title="FLAN V2, as in Tülu V2",
    page="https://github.com/google-research/FLAN",
    files=(
        RemoteFile(
            "tulu_v2_resampled_flan_50k.jsonl",
            "https://beaker.org/api/v3/datasets/01HBS0N5ZSDF5AECA9VMB1RKXQ/files/flan_v2_resampled_50k.jsonl",
        ),
    ),
    also=(RemoteFile("flan_v2_resampled_50k.jsonl"),),
    records=50000,
    columns=("inputs", "targets"),
    convert=Exchange("inputs", "targets", closed=True),
    licence="Apache-2.0",
    citation="Longpre et al., The Flan Collection: Designing Data and Methods for Effective Instruction "
    "Tuning, ICML 2023, arXiv 2301.13688",
    notes="The publisher calls the file flan_v2_resampled_50k.jsonl, which is found too.",
)
