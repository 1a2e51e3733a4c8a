"""Text of others on its way to a reader: paths, names, labels, records, reasons of errors.

What the program did not write itself may hold anything: bytes that steer a terminal, markup of Markdown and
HTML. Each kind of reader has one function here, and everything that is shown goes through it.
"""

import html
import json
import re
import unicodedata
from typing import Any, Final

_JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible too, but parts of words in several scripts, and of emoji."""
_MARKDOWN: Final = re.compile(r"[\\`*\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown could read as its own inside a line; an underscore inside a word is none."""


def plain(text: object) -> str:
    """Text as a terminal may show it, with characters that could steer it or hide as escapes.

    These are control characters but newline and tab, halves of surrogate pairs (bytes of a path that are no
    text), and invisible ones, such as those that turn the direction of writing.

        plain("a\\x1b[31mb") == r"a\\x1b[31mb"
    """
    shown = str(text)
    return shown if shown.isprintable() else "".join(map(_visible, shown))


def in_one_line(text: object) -> str:
    """`plain`, with white space of any kind and length as one space."""
    return plain(" ".join(str(text).split()))


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 example`, `2,000 examples`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def as_html(text: object) -> str:
    """Text as a page may hold it, also in an attribute."""
    return html.escape(plain(text), quote=True)


def as_markdown(text: object) -> str:
    """Text in a line of Markdown that is read as what it is: no markup, no HTML."""
    return _MARKDOWN.sub(r"\\\g<0>", html.escape(in_one_line(text), quote=False))


def as_code(text: object) -> str:
    """Text as code in a line of Markdown, between more backquotes than it has."""
    shown = in_one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if not shown or "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{space}{shown}{space}{fence}"


def as_json(record: Any, encoding: str = "utf-8") -> str:
    """One line of JSON that is safe on a terminal too, and that a file of this encoding can hold."""
    ascii_only = not encoding.lower().replace("_", "-").startswith("utf")
    return "".join(map(_json_escape, json.dumps(record, ensure_ascii=ascii_only)))


def storable(text: str, encoding: str | None) -> str:
    """Text with escapes for characters that an encoding lacks (`PYTHONIOENCODING=ascii`)."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cf":
        return character not in _JOINERS
    return category in ("Cc", "Cs", "Zl", "Zp")


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable() or not _steers(character):
        return character
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    if character.isprintable() or not _steers(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
