r"""Markov algorithms as text: what users write, read and written.

One rule a line, in order. Blank lines are skipped. Spaces around a side are not part of it; those inside are.

    line    = [ rule ] [ comment ]
    rule    = side arrow [ dot ] side
    arrow   = "->" | "→"
    dot     = "." | "·"                    the rule is terminal
    side    = plain | quoted | nothing     nothing is the empty string
    plain   = characters other than the double quote, with no arrow and no comment among them
    quoted  = a JSON string                "a b", "#", "\n"
    comment = "#" at the start of the line or after a space, and all that follows

For example:

    # a comment               no rule
    λx → xλβx                 λx becomes xλβx
    the shop -> my brother    spaces inside a side are kept
    λ → ·                     λ is deleted, and the run ends
    -> λ                      λ is put in front
    a# -> b  # swapped        a# becomes b: a # with no space before it is a character like any other
    x -> . ". #"              x becomes a dot, a space and a #, and the run ends

Inside quotes everything stands for itself but the escapes of JSON: `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`,
`\t`, `\uXXXX`. Outside, a backslash is a character like any other. A side is quoted as a whole. What could be
meant in two ways is an error and never a guess: `x -> ..` (one dot or two?), and `x -> #` or `x -> #y` (a
character or a comment?), while `x -> # note`, with a space and a note, is a comment after an empty side.
"""

import json
import pathlib
import re
from typing import Final, NamedTuple

from im_jax.errors import DataError
from im_jax.studies.rewrites.markov.program import Program, Rule

_TOKEN: Final = re.compile(
    r"""(?P<quoted>"(?:[^"\\]|\\.)*") | (?P<arrow>->|→) | (?P<comment>(?<!\S)\#.*) | (?P<plain>.)""",
    re.DOTALL | re.VERBOSE,
)
_DOTS: Final = (".", "·")
_LONGEST_SHOWN: Final = 80
"""Characters of a line that an error repeats."""


class _Token(NamedTuple):
    kind: str
    text: str


def parse(text: str, source: str = "program") -> Program:
    """The program that a text holds. `source` is what errors call it, such as the name of a file.

    Raises:
        DataError: a line is no rule; the message has its number, from 1.
    """
    rules = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        try:
            rule = _parse_line(line)
        except DataError as error:
            raise DataError(f"{source}:{number}: {error}, in: {_excerpt(line)}") from error
        if rule is not None:
            rules.append(rule)
    return Program(rules)


def read(path: pathlib.Path) -> Program:
    """The program in a file of UTF-8 text, with or without a byte order mark.

    Raises:
        DataError: the file cannot be read, or a line is no rule.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; give a file with one rule a line"
        ) from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{number}: not UTF-8 text; save the file as UTF-8") from error
    return parse(text, str(path))


def render(program: Program) -> str:
    """A text that `parse` makes the same program of, one line a rule."""
    return "".join(render_rule(rule) + "\n" for rule in program.rules)


def render_rule(rule: Rule) -> str:
    """A rule in the notation, quoted only where it must be."""
    parts = (_render_side(rule.left), "->", "." if rule.terminal else "", _render_side(rule.right))
    return " ".join(part for part in parts if part)


def visible(text: str) -> str:
    """A text as it is, or as a JSON string where a reader could not see what it holds or that it is empty."""
    if text and text.isprintable() and text == text.strip() and text[0] != '"':
        return text
    return _quote(text)


def _excerpt(line: str) -> str:
    shown = line.strip()
    shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
    return shown if shown.isprintable() else _quote(shown)


def _parse_line(line: str) -> Rule | None:
    """The rule of a line; None if it is blank or a comment. Errors do not say which line it was."""
    tokens = [_Token(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(line)]
    comment = tokens.pop().text if tokens and tokens[-1].kind == "comment" else ""
    tokens = _strip(tokens)
    if not tokens:
        return None
    if _Token("plain", '"') in tokens:
        raise DataError(r'a double quote without its pair; write the side as "...", and a quote in it as \"')
    arrows = [at for at, token in enumerate(tokens) if token.kind == "arrow"]
    if not arrows:
        outside = " outside quotes" if any(token.kind == "quoted" for token in tokens) else ""
        hint = "; a # after a space begins a comment" if comment else ""
        raise DataError(f"no arrow{outside}; write LEFT -> RIGHT, or # in front of a comment{hint}")
    if len(arrows) > 1:
        raise DataError(f'{len(arrows)} arrows; put a side that holds an arrow in double quotes, as in "->"')
    left, right = tokens[: arrows[0]], _strip(tokens[arrows[0] + 1 :])
    terminal = _begins_with_dot(right)
    right = _strip(right[1:]) if terminal else right
    if terminal and _begins_with_dot(right):
        raise DataError('two dots after the arrow; put a right side that begins with a dot in quotes: "."')
    if comment and not right and not re.match(r"#\s+\S", comment):
        raise DataError('a # where the right side begins; write "#" for the character, "" for nothing')
    return Rule(_side(left), _side(right), terminal)


def _side(tokens: list[_Token]) -> str:
    tokens = _strip(tokens)
    if all(token.kind == "plain" for token in tokens):
        return "".join(token.text for token in tokens)
    if len(tokens) > 1:
        raise DataError("text beside a quoted string; put the whole side in one pair of double quotes")
    try:
        # Not strict: a tab inside quotes is a tab, as it is outside.
        return str(json.loads(tokens[0].text, strict=False))
    except json.JSONDecodeError as error:
        raise DataError(
            rf"{_excerpt(tokens[0].text)} is no JSON string ({error.msg}); write \\ for a backslash"
        ) from error


def _strip(tokens: list[_Token]) -> list[_Token]:
    """The tokens without spaces at either end."""
    inside = [at for at, token in enumerate(tokens) if not token.text.isspace()]
    return tokens[inside[0] : inside[-1] + 1] if inside else []


def _begins_with_dot(tokens: list[_Token]) -> bool:
    return bool(tokens) and tokens[0].text in _DOTS


def _render_side(side: str) -> str:
    if not side:
        return ""
    special = re.search(r'"|->|→|(?<!\S)#', side) or side.startswith(_DOTS)
    hidden = not side.isprintable() or side != side.strip()
    return _quote(side) if special or hidden else side


def _quote(text: str) -> str:
    """A JSON string, with escapes for what has no look of its own."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
