"""Tülu V2 built from its parts, as its own scripts build it."""

from im_jax.data.recipes.recipe import PaperFigures, Part, Recipe

RECIPE = Recipe(
    name="tulu_v2_parts",
    title="Tülu V2 from its parts",
    page="https://huggingface.co/datasets/allenai/tulu-v2-sft-mixture",
    files=(),
    columns=(),
    parts=(
        Part("flan_v2", "all", names_left_out=True),
        Part("cot_zero_shot", "25000", names_left_out=True),
        Part("cot_few_shot", "25000", names_left_out=True),
        Part("oasst1", "all", names_left_out=True),
        Part("lima", "all", names_left_out=True),
        Part("gpt4_alpaca", "20000", names_left_out=True),
        Part("code_alpaca", "all", names_left_out=True),
        Part("sharegpt", "all", names_left_out=True),
        Part("wizardlm", "30000", names_left_out=True),
        Part("open_orca_gpt4", "30000", names_left_out=True),
        Part("science", "all", names_left_out=True),
        Part("tulu_hard_coded", "x10"),
    ),
    licence="of each part its own; parts of it for non-commercial use only",
    citation="Ivison et al., Camels in a Changing Climate: Enhancing LM Adaptation with Tulu 2, 2023, "
    "arXiv 2311.10702",
    paper=PaperFigures(326181, 343.56, 197.60, 0.5751),
    notes="data.path is a folder with the files of all parts. Numbers are drawn of what is left once "
    "names are left out, where its own scripts draw first; the draws themselves are other ones, so that "
    "texts and number differ from both 326,154 and 326,181.",
)
