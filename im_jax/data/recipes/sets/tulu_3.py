"""Tülu 3: 939,343 conversations of eighteen sources."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="tulu_3",
    title="Tülu 3",
    page="https://huggingface.co/datasets/allenai/tulu-3-sft-mixture",
    hub="allenai/tulu-3-sft-mixture",
    files=(RemoteFile("data/train-*.parquet", size="1.4 GB in 6 files"),),
    records=939343,
    columns=("id", "messages", "source"),
    convert=Columns({"messages": "messages", "id": "id"}),
    licence="ODC-BY; parts of it for non-commercial use only",
    citation="Lambert et al., Tulu 3: Pushing Frontiers in Open Language Model Post-Training, 2024, arXiv "
    "2411.15124",
)
