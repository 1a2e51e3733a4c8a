"""LIMA: a thousand answers chosen and written by hand."""

from im_jax.data.recipes.conversions import Turns
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="lima",
    title="LIMA",
    page="https://huggingface.co/datasets/GAIR/lima",
    hub="GAIR/lima",
    gated=True,
    files=(RemoteFile("train.jsonl", "https://huggingface.co/datasets/GAIR/lima/resolve/main/train.jsonl"),),
    records=1030,
    columns=("conversations", "source"),
    convert=Turns(),
    licence="CC BY-NC-SA, or stricter where a source of it is",
    citation="Zhou et al., LIMA: Less Is More for Alignment, NeurIPS 2023, arXiv 2305.11206",
    paper=PaperFigures(1030, 442.75, 41.72, 0.0942),
    notes="A last message of the user goes. test.jsonl holds 300 questions without answers.",
)
