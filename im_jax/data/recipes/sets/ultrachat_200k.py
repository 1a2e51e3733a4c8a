"""UltraChat 200k: the dialogues that Zephyr was instructed with."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="ultrachat_200k",
    title="UltraChat 200k",
    page="https://huggingface.co/datasets/HuggingFaceH4/ultrachat_200k",
    hub="HuggingFaceH4/ultrachat_200k",
    files=(RemoteFile("data/train_sft-*.parquet"),),
    columns=("prompt", "prompt_id", "messages"),
    convert=Columns({"messages": "messages", "prompt_id": "id"}),
    licence="MIT",
    citation="Ding et al., Enhancing Chat Language Models by Scaling High-quality Instructional "
    "Conversations, EMNLP 2023, arXiv 2305.14233; Tunstall et al., Zephyr, 2023, arXiv 2310.16944",
    notes="The split train_sft, about 208,000 records; test_sft has about 23,100.",
)
