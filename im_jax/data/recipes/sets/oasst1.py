"""OpenAssistant: of each tree of replies the path of the best."""

from im_jax.data.recipes.conversions import BestPath
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="oasst1",
    title="OpenAssistant, best paths",
    page="https://huggingface.co/datasets/OpenAssistant/oasst1",
    hub="OpenAssistant/oasst1",
    files=(
        RemoteFile(
            "2023-04-12_oasst_ready.trees.jsonl.gz",
            "https://huggingface.co/datasets/OpenAssistant/oasst1/resolve/main/2023-04-12_oasst_ready.trees.jsonl.gz",
        ),
    ),
    also=(RemoteFile("2023-04-12_oasst_ready.trees.jsonl"),),
    columns=("message_tree_id", "tree_state", "prompt"),
    convert=BestPath(),
    licence="Apache-2.0",
    citation="Köpf et al., OpenAssistant Conversations: Democratizing Large Language Model Alignment, "
    "NeurIPS 2023, arXiv 2304.07327",
    notes="Tülu V2 has 7,708 of these.",
)
