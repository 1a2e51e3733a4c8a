"""SmolTalk: what SmolLM2 was instructed with."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="smoltalk",
    title="SmolTalk",
    page="https://huggingface.co/datasets/HuggingFaceTB/smoltalk",
    hub="HuggingFaceTB/smoltalk",
    files=(RemoteFile("data/all/train-*.parquet", size="2 GB in 9 files"),),
    columns=("messages", "source"),
    convert=Columns({"messages": "messages"}),
    licence="Apache-2.0 for what is new in it; the sets that it takes up keep their own",
    citation="Ben Allal et al., SmolLM2: When Smol Goes Big, 2025, arXiv 2502.02737",
    notes="Over a million records.",
)
