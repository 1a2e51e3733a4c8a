"""LESS MMLU Chat: what is most like MMLU Chat, of 270,679 examples, by gradients."""

from im_jax.data.recipes.conversions import Columns
from im_jax.data.recipes.recipe import PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="less_mmlu_chat",
    title="LESS MMLU Chat",
    page="https://huggingface.co/datasets/princeton-nlp/less_data",
    hub="princeton-nlp/less_data",
    files=(
        RemoteFile(
            "mmlu-chat_adam_sim_trainp0.05_seed3_p0.05.jsonl",
            "https://huggingface.co/datasets/princeton-nlp/less_data/resolve/main/less-data.zip",
            "a file in less-data.zip, 169 MB",
        ),
    ),
    records=13533,
    columns=("dataset", "id", "messages"),
    convert=Columns({"messages": "messages", "id": "id"}),
    licence="none stated; the pool it is chosen from: Flan V2 and OASST1 Apache-2.0, Dolly CC BY-SA 3.0",
    citation="Xia et al., LESS: Selecting Influential Data for Targeted Instruction Tuning, ICML 2024, "
    "arXiv 2402.04333",
    paper=PaperFigures(13533, 8.24, 216.95, 26.3316),
    notes="The top 5 % of a pool of 270,679 examples of Flan V2, CoT, Dolly and OASST1.",
)
