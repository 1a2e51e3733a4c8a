"""AlpaGasus Alpaca 5k: the best of Alpaca, as a model rated it."""

from im_jax.data.recipes.conversions import Instruction
from im_jax.data.recipes.recipe import IM_REPOSITORY, PaperFigures, Recipe, RemoteFile

RECIPE = Recipe(
    name="alpagasus_alpaca_5k",
    title="AlpaGasus Alpaca 5k",
    page="https://github.com/gpt4life/alpagasus",
    files=(
        RemoteFile(
            "claude_t45.json",
            "https://raw.githubusercontent.com/gpt4life/alpagasus/main/data/filtered/claude_t45.json",
            "1.8 MB",
            sha256="726de12839a57201915867a0cdaec5010619915d8668fa57ff5fa9efa6e893f3",
        ),
    ),
    also=(
        RemoteFile(
            "alpagasus_claude_t45_alpaca.jsonl",
            IM_REPOSITORY + "alpagasus_claude_t45_alpaca.jsonl",
            sha256="7faffd3ac3a580402ddca3dd824616d5d5c81cdc782de330c6b0a3e6d95936fe",
        ),
    ),
    records=5305,
    columns=("input", "instruction", "output"),
    convert=Instruction(with_empty=True),
    wraps=True,
    version=2,
    turns={"empty": "keep"},
    licence="CC BY-NC 4.0, as Stanford Alpaca; the repository states none",
    citation="Chen et al., AlpaGasus: Training a Better Alpaca with Fewer Data, ICLR 2024, arXiv 2307.08701",
    paper=PaperFigures(5305, 30.81, 17.48, 0.5672),
    notes="Table 5 counts the words of alpagasus_claude_t45_alpaca.jsonl, whose wrappers have words of "
    "their own. Four answers are empty and are kept, as there; data.turns.empty=skip leaves them out.",
)
