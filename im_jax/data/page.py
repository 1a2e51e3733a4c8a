"""Examples as a page that needs nothing else: each token by its class, and shaded by its weight."""

import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.data.display import COLOURS, MaskedExample, totals
from im_jax.data.statistics import DataReport
from im_jax.data.tokenizers import Tokenizer
from im_jax.text import as_html, counted
from im_jax.token_classes import MAIN_CLASSES, TokenClass

_TEMPLATE: Final = (TokenClass.BOS, TokenClass.HEADER, TokenClass.STOP, TokenClass.SEPARATOR)
_LONGEST: Final = 12
"""Tokens that are tried as parts of one character or a few, before each is shown alone."""


def to_html(
    examples: Iterable[MaskedExample],
    tokenizer: Tokenizer,
    class_weights: jt.Float32[np.ndarray, " C"],
    report: DataReport,
    title: str,
) -> str:
    """A page of examples, with what each class weighs; hover over a token for its id, class and weight."""
    colours = "\n".join(f".{c.label} {{ --colour: {colour}; }}" for c, colour in COLOURS.items())
    shown = list(examples)
    body = "\n".join(_example(example, tokenizer) for example in shown)
    rows = "\n".join(
        f"<tr><td>{as_html(name)}</td><td>{as_html(value)}</td></tr>" for name, value in totals(report)
    )
    legend = "\n".join(_legend(class_weights, {c for example in shown for c in example.classes}))
    return _PAGE.format(title=as_html(title), colours=colours, legend=legend, body=body, rows=rows)


def whole_characters(tokens: Sequence[int], tokenizer: Tokenizer) -> Iterator[tuple[int, str | None]]:
    """Where each text that a reader can read ends, and the text; None where it is a token's own.

    Tokens that are bytes of one character, or of a few that share a token, are one text. Of the bytes

        E4 B8 AD 61 FF

    the ends and texts are (3, 中), (4, None), (5, None): the last byte is no character by itself.
    """
    at = 0
    while at < len(tokens):
        end, text = at + 1, None
        if _is_cut(tokenizer.decode(tokens[at:end], skip_special=False)):
            for longer in range(at + 2, min(at + _LONGEST, len(tokens)) + 1):
                together = tokenizer.decode(tokens[at:longer], skip_special=False)
                if not _is_cut(together):
                    end, text = longer, together
                    break
        yield end, text
        at = end


def _is_cut(text: str) -> bool:
    """Whether bytes of a character are missing."""
    return "\N{REPLACEMENT CHARACTER}" in text


def _example(example: MaskedExample, tokenizer: Tokenizer) -> str:
    spans: list[tuple[bool, str]] = []
    begin = 0
    for end, text in whole_characters(example.tokens, tokenizer):
        marks = set(zip(example.classes[begin:end], example.weights[begin:end], strict=True))
        is_template = example.classes[begin] in _TEMPLATE
        if text is None or len(marks) > 1:
            shown = [_span(example, at, at + 1, example.pieces[at]) for at in range(begin, end)]
        else:
            shown = [_span(example, begin, end, text)]
        spans += [(is_template, span) for span in shown]
        begin = end
    body = "".join(
        _in_its_direction("".join(span for _, span in group), is_template)
        for is_template, group in itertools.groupby(spans, key=lambda item: item[0])
    )
    return f'<section><h2>{as_html(example.id)}</h2><div class="text">{body}</div></section>'


def _in_its_direction(spans: str, is_template: bool) -> str:
    """Marks such as `</s>` are read from the left beside Arabic too."""
    return f'<bdi dir="ltr">{spans}</bdi>' if is_template else spans


def _span(example: MaskedExample, begin: int, end: int, text: str) -> str:
    """Tokens of one class and weight, shown as this text."""
    token_class, weight = example.classes[begin], example.weights[begin]
    ids = [f"{example.pieces[at]!r}  id {example.tokens[at]}" for at in range(begin, end)]
    together = [f"{text!r}: {counted(end - begin, 'token')}"] if end - begin > 1 else []
    tip = "\n".join([*together, *ids, f"{token_class.label}  weight {weight:g}"])
    several = " several" if together else ""
    shown = as_html(text.replace("\n", "↵\n"))
    marks = f'class="{_class(token_class, weight)}{several}"{_style(weight)}'
    return f'<span {marks} title="{as_html(tip)}">{shown}</span>'


def _legend(class_weights: jt.Float32[np.ndarray, " C"], seen: Set[TokenClass]) -> Iterator[str]:
    """A row for each class with its weight, and for sub-classes that weigh otherwise or are seen as such."""
    for token_class in TokenClass:
        weight = float(class_weights[token_class])
        coarser = float(class_weights[token_class.part_of])
        told = token_class in MAIN_CLASSES or token_class in seen or weight != coarser
        if token_class is TokenClass.PAD or not told:
            continue
        chip = f'<span class="{_class(token_class.shown, weight)}"{_style(weight)}>{token_class.label}</span>'
        yield f"<li>{chip} {weight:g}</li>"


def _class(token_class: TokenClass, weight: float) -> str:
    return f"token {token_class.label}{' trained' if weight else ''}"


def _style(weight: float) -> str:
    return f' style="--weight:{min(weight, 1):g}"' if weight else ""


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark;
  --paper: #fff; --ink: #222; --quiet: #666; --line: #ddd; --strength: 100%; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #16181c; --ink: #ddd; --quiet: #999; --line: #3a3d44; --strength: 55%; }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; overflow-wrap: anywhere;
  margin: 2rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper); }}
h1 {{ font-size: 1.3rem; }} h2 {{ font-size: 1rem; margin: 1.5rem 0 .3rem; color: var(--quiet); }}
.text {{ white-space: pre-wrap; unicode-bidi: plaintext; font: 14px/1.9 ui-monospace, monospace;
  border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; }}
.token {{ --shown: color-mix(in srgb, var(--colour) var(--strength), white);
  color: color-mix(in srgb, var(--shown) 70%, var(--paper)); box-shadow: inset -1px 0 #8883; }}
.token.trained {{ color: var(--shown); font-weight: 600; border-radius: 3px;
  background: color-mix(in srgb, var(--shown) calc(10% + 15% * var(--weight)), var(--paper)); }}
.several {{ text-decoration: underline dotted 1px; text-underline-offset: 3px; }}
.weights .token {{ box-shadow: none; padding: 0 .3rem; }}
ul {{ list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }}
td {{ overflow-wrap: break-word; padding: .1rem 1.5rem .1rem 0; vertical-align: top; }}
{colours}
</style></head><body>
<h1>{title}</h1>
<p>Shaded tokens carry loss, pale ones do not. Hover over one for its id, class and weight; what is underlined
with dots is several tokens. Weights of the classes:</p>
<ul class="weights">
{legend}
</ul>
{body}
<h2>All examples</h2><table>
{rows}
</table></body></html>
"""
