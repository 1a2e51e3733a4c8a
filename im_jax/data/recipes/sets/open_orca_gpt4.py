"""OpenOrca: questions of FLAN, answered by GPT-4."""

from im_jax.data.recipes.conversions import Exchange
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="open_orca_gpt4",
    title="OpenOrca, GPT-4",
    page="https://huggingface.co/datasets/Open-Orca/OpenOrca",
    hub="Open-Orca/OpenOrca",
    files=(
        RemoteFile(
            "1M-GPT4-Augmented.parquet",
            "https://huggingface.co/datasets/Open-Orca/OpenOrca/resolve/main/1M-GPT4-Augmented.parquet",
        ),
    ),
    columns=("id", "system_prompt", "question", "response"),
    convert=Exchange("question", "response", system="system_prompt"),
    licence="MIT",
    citation="Lian et al., OpenOrca: An Open Dataset of GPT Augmented FLAN Reasoning Traces, 2023",
    notes="About a million records.",
)
