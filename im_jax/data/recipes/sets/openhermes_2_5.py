"""OpenHermes 2.5: a million conversations, most by GPT-4."""

from im_jax.data.recipes.conversions import Speakers
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="openhermes_2_5",
    title="OpenHermes 2.5",
    page="https://huggingface.co/datasets/teknium/OpenHermes-2.5",
    hub="teknium/OpenHermes-2.5",
    files=(
        RemoteFile(
            "openhermes2_5.json",
            "https://huggingface.co/datasets/teknium/OpenHermes-2.5/resolve/main/openhermes2_5.json",
            "1.9 GB",
        ),
    ),
    records=1001551,
    columns=("conversations", "system_prompt", "source", "category"),
    convert=Speakers(system="system_prompt"),
    licence="none stated",
    citation="Teknium, OpenHermes 2.5: An Open Dataset of Synthetic Data for Generalist LLM Assistants, 2023",
    notes="One JSON array, with more columns than these, null in most records.",
)
