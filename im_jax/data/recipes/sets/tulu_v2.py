"""Tülu V2 as it is published: eleven sources, 326,154 conversations."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="tulu_v2",
    title="Tülu V2",
    page="https://huggingface.co/datasets/allenai/tulu-v2-sft-mixture",
    hub="allenai/tulu-v2-sft-mixture",
    files=(RemoteFile("data/train-*.parquet", size="555 MB in 3 files"),),
    records=326154,
    columns=("dataset", "id", "messages"),
    convert=Columns({"messages": "messages", "id": "id"}),
    licence="ODC-BY; parts of it for non-commercial use only",
    citation="Ivison et al., Camels in a Changing Climate: Enhancing LM Adaptation with Tulu 2, 2023, "
    "arXiv 2311.10702",
    paper=PaperFigures(326181, 343.56, 197.60, 0.5751),
    notes="The paper built it itself, with 326,181 conversations; tulu_v2_parts builds it from its parts.",
)
