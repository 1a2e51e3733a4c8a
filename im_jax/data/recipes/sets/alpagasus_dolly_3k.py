"""AlpaGasus Dolly 3k: the best of Dolly, as a model rated it."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import IM_REPOSITORY, PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="alpagasus_dolly_3k",
    title="AlpaGasus Dolly 3k",
    page="https://github.com/gpt4life/alpagasus",
    files=(
        RemoteFile(
            "dolly_3k.json",
            "https://raw.githubusercontent.com/gpt4life/alpagasus/main/data/filtered/dolly_3k.json",
            "2.3 MB",
            sha256="cb8d16e85ec217a53587c96596a1e8971b8d72a2fd9d5bc23a2dd3d57b59eeea",
        ),
    ),
    also=(
        RemoteFile(
            "alpagasus_3k_dolly.jsonl",
            IM_REPOSITORY + "alpagasus_3k_dolly.jsonl",
            sha256="28b89ba107e6776179515990d12a231b1a209ee360e21f365341033d8fad9f23",
        ),
    ),
    records=2996,
    columns=("category", "input", "instruction", "output"),
    convert=Instruction(),
    wraps=True,
    licence="CC BY-SA 3.0, as Dolly; the repository states none",
    citation="Chen et al., AlpaGasus: Training a Better Alpaca with Fewer Data, ICLR 2024, arXiv 2307.08701",
    paper=PaperFigures(2996, 68.08, 43.83, 0.6439),
    notes="Table 5 counts the words of alpagasus_3k_dolly.jsonl, whose wrappers have words of their own.",
)
