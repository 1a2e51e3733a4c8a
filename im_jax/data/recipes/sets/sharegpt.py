"""ShareGPT: conversations of users with ChatGPT, 50,000 of them."""

from im_jax.data.recipes.conversions import Pieces
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

_PLACE = (
    "https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered/resolve/main/"
    "HTML_cleaned_raw_dataset/"
)
RECIPE = Recipe(
    name="sharegpt",
    title="ShareGPT",
    page="https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered",
    hub="anon8231489123/ShareGPT_Vicuna_unfiltered",
    files=(
        RemoteFile(
            "HTML_cleaned_raw_dataset/sg_90k_part1_html_cleaned.json",
            _PLACE + "sg_90k_part1_html_cleaned.json",
        ),
        RemoteFile(
            "HTML_cleaned_raw_dataset/sg_90k_part2_html_cleaned.json",
            _PLACE + "sg_90k_part2_html_cleaned.json",
        ),
    ),
    columns=("id", "conversations"),
    convert=Pieces(),
    amount="50000",
    licence="unclear: Apache-2.0 is stated, and whose the texts are is not",
    citation="none asked for; collected by users of sharegpt.com",
    paper=PaperFigures(50000, 831.15, 204.24, 0.2457),
    notes="Conversations are cut into pieces of at most 4,096 tokens, counted as four bytes each (in Tülu "
    "V2 by Llama's tokenizer, which gave 114,046). Those with a system or Bing turn are left out, and "
    "counted.",
)
