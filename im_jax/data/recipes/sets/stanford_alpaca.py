"""Stanford Alpaca: 52,002 instructions and answers by text-davinci-003."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="stanford_alpaca",
    title="Stanford Alpaca",
    page="https://github.com/tatsu-lab/stanford_alpaca",
    files=(
        RemoteFile(
            "alpaca_data.json",
            "https://raw.githubusercontent.com/tatsu-lab/stanford_alpaca/main/alpaca_data.json",
            "22 MB",
        ),
    ),
    records=52002,
    columns=("instruction", "input", "output"),
    convert=Instruction(),
    wraps=True,
    licence="CC BY-NC 4.0",
    citation="Taori et al., Stanford Alpaca: An Instruction-following LLaMA model, 2023",
    paper=PaperFigures(52002, 45.18, 18.59, 0.4115),
    notes="Records without an answer are left out, and counted.",
)
