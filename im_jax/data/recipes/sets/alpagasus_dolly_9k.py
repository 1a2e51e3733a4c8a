"""AlpaGasus Dolly 9k, as the paper calls it; most probably of Alpaca."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="alpagasus_dolly_9k",
    title="AlpaGasus Dolly 9k",
    page="https://github.com/gpt4life/alpagasus",
    files=(
        RemoteFile(
            "chatgpt_9k.json",
            "https://raw.githubusercontent.com/gpt4life/alpagasus/main/data/filtered/chatgpt_9k.json",
        ),
    ),
    records=9229,
    columns=("input", "instruction", "output"),
    convert=Instruction(),
    wraps=True,
    licence="CC BY-NC 4.0 if it is of Stanford Alpaca; the repository states none",
    citation="Chen et al., AlpaGasus: Training a Better Alpaca with Fewer Data, ICLR 2024, arXiv 2307.08701",
    paper=PaperFigures(9229, 56.62, 16.79, 0.2965),
    notes="The paper calls it Dolly; by its name it is most probably the part of Alpaca that ChatGPT "
    "rated best.",
)
