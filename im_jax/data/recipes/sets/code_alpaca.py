"""Code Alpaca: 20,022 instructions to write or change code."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="code_alpaca",
    title="Code Alpaca",
    page="https://github.com/sahil280114/codealpaca",
    files=(
        RemoteFile(
            "code_alpaca_20k.json",
            "https://raw.githubusercontent.com/sahil280114/codealpaca/master/data/code_alpaca_20k.json",
        ),
    ),
    records=20022,
    columns=("instruction", "input", "output"),
    convert=Instruction(),
    wraps=True,
    licence="CC BY-NC 4.0",
    citation="Chaudhary, Code Alpaca: An Instruction-following LLaMA model for code generation, 2023",
    paper=PaperFigures(20022, 27.40, 22.34, 0.8156),
    notes="Records without an answer are left out, and counted.",
)
