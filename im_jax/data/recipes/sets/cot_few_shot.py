"""Chains of thought of FLAN V2, with examples in the prompt."""

from im_jax.data.recipes.conversions import Exchange
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="cot_few_shot",
    title="Chains of thought, few-shot",
    page="https://github.com/google-research/FLAN",
    files=(
        RemoteFile(
            "cot_fsopt.jsonl",
            "https://beaker.org/api/v3/datasets/01GXZ51ZV283RAZW7J3ECM4S58/files/cot_fsopt.jsonl",
        ),
    ),
    columns=("inputs", "targets"),
    convert=Exchange("inputs", "targets", closed=True),
    licence="Apache-2.0",
    citation="Longpre et al., The Flan Collection: Designing Data and Methods for Effective Instruction "
    "Tuning, ICML 2023, arXiv 2301.13688",
)
