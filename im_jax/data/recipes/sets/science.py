"""Science literature: questions about papers, from Tülu V2."""

from im_jax.data.recipes.conversions import Exchange
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="science",
    title="Science literature",
    page="https://huggingface.co/datasets/allenai/tulu-v2-sft-mixture",
    files=(
        RemoteFile(
            "science_train.jsonl",
            "https://beaker.org/api/v3/datasets/01HBS3G7TA8AT15C7RWTJAN66X/files/science_train.jsonl",
        ),
    ),
    records=7544,
    columns=("dataset", "input", "output"),
    convert=Exchange("input", "output"),
    licence="unknown; published within Tülu V2, which is ODC-BY",
    citation="Ivison et al., Camels in a Changing Climate: Enhancing LM Adaptation with Tulu 2, 2023, "
    "arXiv 2311.10702",
    paper=PaperFigures(7544, 46.46, 1149.62, 24.7417),
    notes="Also in tulu_v2, as the rows whose dataset begins with science; the number is the paper's.",
)
