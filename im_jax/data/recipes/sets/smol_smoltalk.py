"""SmolTalk for small models: shorter conversations."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="smol_smoltalk",
    title="Smol SmolTalk",
    page="https://huggingface.co/datasets/HuggingFaceTB/smol-smoltalk",
    hub="HuggingFaceTB/smol-smoltalk",
    files=(RemoteFile("data/train-*.parquet"),),
    records=460341,
    columns=("messages", "source"),
    convert=Columns({"messages": "messages"}),
    licence="Apache-2.0",
    citation="Ben Allal et al., SmolLM2: When Smol Goes Big, 2025, arXiv 2502.02737",
)
