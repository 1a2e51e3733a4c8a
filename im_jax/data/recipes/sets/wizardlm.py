"""WizardLM: 30,000 of 143,000 evolved instructions."""

from im_jax.data.recipes.conversions import Speakers
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="wizardlm",
    title="WizardLM",
    page="https://huggingface.co/datasets/WizardLMTeam/WizardLM_evol_instruct_V2_196k",
    hub="WizardLMTeam/WizardLM_evol_instruct_V2_196k",
    files=(
        RemoteFile(
            "WizardLM_evol_instruct_V2_143k.json",
            "https://huggingface.co/datasets/WizardLMTeam/WizardLM_evol_instruct_V2_196k/resolve/main/"
            "WizardLM_evol_instruct_V2_143k.json",
            "375 MB",
        ),
    ),
    columns=("idx", "conversations"),
    convert=Speakers(id="idx"),
    amount="30000",
    licence="MIT",
    citation="Xu et al., WizardLM: Empowering Large Language Models to Follow Complex Instructions, ICLR "
    "2024, arXiv 2304.12244",
    paper=PaperFigures(30000, 258.35, 91.71, 0.3550),
    notes="About 143,000 records, of which 30,000 are drawn; the paper's draw is not known. A copy "
    "elsewhere that has 286,000 records holds each twice.",
)
