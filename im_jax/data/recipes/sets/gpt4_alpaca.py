"""GPT-4 Alpaca: Alpaca's instructions, answered by GPT-4."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="gpt4_alpaca",
    title="GPT-4 Alpaca",
    page="https://github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM",
    files=(
        RemoteFile(
            "alpaca_gpt4_data.json",
            "https://raw.githubusercontent.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM/main/data/alpaca_gpt4_data.json",
        ),
    ),
    columns=("instruction", "input", "output"),
    convert=Instruction(),
    wraps=True,
    licence="CC BY-NC 4.0",
    citation="Peng et al., Instruction Tuning with GPT-4, 2023, arXiv 2304.03277",
)
