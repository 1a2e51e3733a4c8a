"""No Robots: 9,500 instructions and answers by people."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="no_robots",
    title="No Robots",
    page="https://huggingface.co/datasets/HuggingFaceH4/no_robots",
    hub="HuggingFaceH4/no_robots",
    files=(RemoteFile("data/train-*.parquet"),),
    records=9500,
    columns=("prompt", "prompt_id", "messages", "category"),
    convert=Columns({"messages": "messages", "prompt_id": "id"}),
    licence="CC BY-NC 4.0",
    citation="Rajani et al., No Robots, 2023",
    notes="The split test has 500.",
)
