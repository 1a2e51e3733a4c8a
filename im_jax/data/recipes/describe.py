"""Recipes told to a reader: one in all its parts, or all with their licences."""

from typing import Any

from im_jax.data.recipes import registry
from im_jax.data.recipes.places import commands_of
from im_jax.data.recipes.recipe import Recipe


def described(recipe: Recipe) -> dict[str, Any]:
    """What is known of a recipe, for JSON; what is unknown is None or empty."""
    paper = recipe.paper
    return {
        "name": recipe.name,
        "title": recipe.title,
        "page": recipe.page,
        "licence": recipe.licence,
        "citation": recipe.citation,
        "gated": recipe.gated,
        "records": recipe.records,
        "amount": recipe.amount if recipe.share is None else f"the first {recipe.share:.0%} of each source",
        "columns": list(recipe.columns),
        "wrapped": recipe.wraps,
        "turns": dict(recipe.turns),
        "files": [file.__dict__ for file in recipe.files],
        "or": [file.__dict__ for file in recipe.also],
        "parts": [part.__dict__ for part in recipe.parts],
        "fetch": commands_of(recipe),
        "paper": None if paper is None else paper.__dict__,
        "notes": recipe.notes,
    }


def text_of(recipe: Recipe) -> str:
    """Some lines for a reader."""
    known = described(recipe)
    lines = [f"{recipe.name}: {recipe.title}", f"  page: {recipe.page}", f"  licence: {recipe.licence}"]
    lines.append(f"  citation: {recipe.citation}")
    lines += [
        f"  part: {part.recipe}, {part.amount}, of licence {_licence(part.recipe)}" for part in recipe.parts
    ]
    if not recipe.parts:
        records = "unknown" if recipe.records is None else f"{recipe.records:,}"
        used = "" if known["amount"] == "all" else f", of which {known['amount']} are used"
        lines.append(f"  records: {records}{used}")
        lines.append(f"  columns: {', '.join(recipe.columns)}")
    for word, files in (("file", recipe.files), ("or", recipe.also)):
        for file in files:
            said = [file.name, file.size, f"sha256 {file.sha256 or 'unknown'}"]
            lines.append(f"  {word}: {', '.join(filter(None, said))}")
    lines += [f"  fetch: {command}" for command in known["fetch"]]
    if recipe.gated:
        lines.append("  gated: accept its licence on its page first")
    if recipe.wraps:
        lines.append("  user text: instruction and input in wrappers; plain with data.wrapping=plain")
    lines += [f"  turns: data.turns.{rule}={choice}" for rule, choice in recipe.turns.items()]
    if (paper := recipe.paper) is not None:
        lines.append(
            f"  paper's Table 5: {paper.examples:,} examples, output {paper.output_words:.2f} words, "
            f"instruction {paper.instruction_words:.2f}, ratio {paper.ratio}"
        )
    if recipe.notes:
        lines.append(f"  note: {recipe.notes}")
    return "\n".join(lines)


def _licence(name: str) -> str:
    return registry.find(name).licence


def catalogue() -> list[dict[str, Any]]:
    """All recipes, for JSON."""
    return [described(recipe) for recipe in registry.every()]


def catalogue_text() -> str:
    """All recipes with their licences, a line each."""
    recipes = registry.every()
    width = max(len(recipe.name) for recipe in recipes)
    records = ["-" if recipe.records is None else f"{recipe.records:,}" for recipe in recipes]
    lines = zip(recipes, records, strict=True)
    return "\n".join(f"{recipe.name:<{width}}  {count:>9}  {recipe.licence}" for recipe, count in lines)


def table() -> str:
    """Markdown: the table of `docs/recipes.md`."""
    rows = ["| `data.recipe` | set | records | licence |", "|---|---|--:|---|"]
    for recipe in registry.every():
        records = "" if recipe.records is None else f"{recipe.records:,}"
        rows.append(f"| `{recipe.name}` | [{recipe.title}]({recipe.page}) | {records} | {recipe.licence} |")
    return "\n".join(rows) + "\n"
