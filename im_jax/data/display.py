"""Examples as a reader sees them: each token with its class and weight, on a terminal or as JSON."""

import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import jaxtyping as jt
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from im_jax.console import words
from im_jax.data.dataset import ExampleView
from im_jax.data.statistics import DataReport
from im_jax.data.tokenizers import Tokenizer
from im_jax.text import in_one_line
from im_jax.token_classes import SHOWN_CLASS_TABLE, TokenClass

COLOURS: Final = {
    TokenClass.PAD: "#9e9e9e",
    TokenClass.BOS: "#9e9e9e",
    TokenClass.HEADER: "#8d6e63",
    TokenClass.SYSTEM: "#7b4fb5",
    TokenClass.USER: "#1565c0",
    TokenClass.TOOL: "#00838f",
    TokenClass.ASSISTANT: "#2e7d32",
    TokenClass.THOUGHT: "#827717",
    TokenClass.TOOL_CALL: "#b5530a",
    TokenClass.STOP: "#c62828",
    TokenClass.SEPARATOR: "#8d6e63",
}


class MaskedExample(NamedTuple):
    """An example with what a policy makes of it, token by token."""

    id: str
    tokens: list[int]
    pieces: list[str]
    classes: list[TokenClass]
    """Classes as shown: main ones, and thoughts and calls."""
    weights: list[float]
    """Weight of each token as a target, before normalisation; 0 for the first: nothing predicts it."""

    def as_record(self) -> dict[str, Any]:
        """What is a line of JSON: `{"id", "tokens", "pieces", "classes", "weights"}`."""
        return self._asdict() | {"classes": [c.label for c in self.classes]}


class Run(NamedTuple):
    """Consecutive tokens of one class and weight."""

    token_class: TokenClass
    weight: float
    tokens: int
    text: str


def mask_example(
    example: ExampleView, tokenizer: Tokenizer, class_weights: jt.Float32[np.ndarray, " C"]
) -> MaskedExample:
    """What a policy's weights make of an example."""
    weights = class_weights[example.classes] * example.weights
    weights[:1] = 0
    return MaskedExample(
        id=example.id,
        tokens=example.tokens.tolist(),
        pieces=[tokenizer.piece(token) for token in example.tokens.tolist()],
        classes=[TokenClass(c) for c in SHOWN_CLASS_TABLE[example.classes].tolist()],
        weights=[round(float(w), 6) for w in weights],
    )


def runs(example: MaskedExample, tokenizer: Tokenizer) -> Iterator[Run]:
    """The example cut where class or weight changes, each piece decoded as a whole."""
    marked = zip(example.tokens, example.classes, example.weights, strict=True)
    for (token_class, weight), group in itertools.groupby(marked, key=lambda item: item[1:]):
        ids = [token for token, _, _ in group]
        yield Run(token_class, weight, len(ids), tokenizer.decode(ids, skip_special=False))


def to_terminal(example: MaskedExample, tokenizer: Tokenizer) -> RenderableType:
    """A table of runs, coloured by class; what carries no loss is dim."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("class", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for run in runs(example, tokenizer):
        colour = COLOURS[run.token_class]
        style = f"bold {colour}" if run.weight else f"dim {colour}"
        text = words(run.text.replace("\n", "↵\n").removesuffix("\n"), style)
        table.add_row(words(run.token_class.label, style), f"{run.weight:g}", text)
    return Group(words(f"example {in_one_line(example.id)}", "bold underline"), table, "")


def totals(report: DataReport) -> list[tuple[str, str]]:
    """Names and values: tokens and share by class, ratios, what was truncated or left out."""
    counts: dict[str, Any] = report.as_dict()
    everything = max(sum(counts["tokens"].values()), 1)
    rows = [
        (f"{label} tokens", f"{count:,} ({count / everything:.1%})")
        for label, count in counts["tokens"].items()
    ]
    for name, key in (
        ("instruction / output, words (whole messages)", "instruction_output_ratio_words"),
        ("instruction / output, tokens (kept)", "instruction_output_ratio_tokens"),
    ):
        rows.append((name, "no output" if counts[key] is None else f"{counts[key]:.3f}"))
    rows += [
        ("examples kept", f"{counts['examples']:,} of {counts['in_source']:,}"),
        ("truncated", f"{counts['truncated']:,}"),
        ("dropped: too long", f"{counts['too_long']:,}"),
        ("dropped: without output", f"{counts['without_output']:,}"),
        ("dropped: malformed", f"{counts['malformed']:,}"),
        *((f"dropped: {reason}", f"{count:,}") for reason, count in report.left_out_by_turns.items()),
        ("kept, but nothing carries loss", f"{counts['without_target']:,}"),
        ("special tokens inside messages", f"{counts['special_in_content']:,}"),
        ("text that nothing reads", report.unread_text() or "none"),
    ]
    rows += [("turns", report.turns_text())] if report.turn_choices else []
    rows += [("note", text) for text in report.notes_text()]
    return rows


def totals_table(report: DataReport) -> Table:
    """`totals` for a terminal."""
    table = Table(title="All examples", box=None, show_header=False, title_justify="left")
    for name, value in totals(report):
        table.add_row(name, value)
    return table
