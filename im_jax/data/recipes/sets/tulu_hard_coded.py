"""What Tülu V2 says of itself: 14 questions and answers."""

from im_jax.data.recipes.conversions import Exchange
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="tulu_hard_coded",
    title="Tülu V2, hard-coded",
    page="https://huggingface.co/datasets/allenai/tulu-v2-sft-mixture",
    files=(
        RemoteFile(
            "hard_coded_examples.jsonl",
            "https://beaker.org/api/v3/datasets/01HBS14BBV16K45MMFSYJR86CA/files/hard_coded_examples.xlsx",
        ),
    ),
    records=14,
    columns=("Prompt", "Output"),
    convert=Exchange("Prompt", "Output"),
    licence="unknown; published within Tülu V2, which is ODC-BY",
    citation="Ivison et al., Camels in a Changing Climate: Enhancing LM Adaptation with Tulu 2, 2023, "
    "arXiv 2311.10702",
    notes="Published as a spreadsheet; save it as JSON Lines with the columns Prompt and Output. The "
    "number is not confirmed by its publisher.",
)
