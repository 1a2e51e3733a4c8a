"""Dolly 15k: instructions and answers by employees of Databricks."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import Recipe, RemoteFile

RECIPE = Recipe(
    name="dolly_15k",
    title="Dolly 15k",
    page="https://huggingface.co/datasets/databricks/databricks-dolly-15k",
    hub="databricks/databricks-dolly-15k",
    files=(
        RemoteFile(
            "databricks-dolly-15k.jsonl",
            "https://huggingface.co/datasets/databricks/databricks-dolly-15k/resolve/main/databricks-dolly-15k.jsonl",
        ),
    ),
    records=15011,
    columns=("instruction", "context", "response", "category"),
    convert=Instruction(input="context", output="response"),
    wraps=True,
    licence="CC BY-SA 3.0",
    citation="Conover et al., Free Dolly: Introducing the World's First Truly Open Instruction-Tuned LLM, "
    "2023",
    notes="The version of TFDS has 15,014 records.",
)
