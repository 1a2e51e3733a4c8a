"""Chains of thought of FLAN V2, without examples in the prompt."""

from im_jax.data.recipes.conversions import Exchange
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="cot_zero_shot",
    title="Chains of thought, zero-shot",
    page="https://github.com/google-research/FLAN",
    files=(
        RemoteFile(
            "cot_zsopt.jsonl",
            "https://beaker.org/api/v3/datasets/01GXZ52K2Q932H6KZY499A7FE8/files/cot_zsopt.jsonl",
        ),
    ),
    columns=("inputs", "targets"),
    convert=Exchange("inputs", "targets", closed=True),
    licence="Apache-2.0",
    citation="Longpre et al., The Flan Collection: Designing Data and Methods for Effective Instruction "
    "Tuning, ICML 2023, arXiv 2301.13688",
)
