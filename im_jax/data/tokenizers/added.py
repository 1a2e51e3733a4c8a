"""Tokens that were added to a tokenizer after its vocabulary was made, told in files beside it.

`tokenizer_config.json` has them in `added_tokens_decoder` with their flags; the older `added_tokens.json` has
ids alone, and what is special stands in `special_tokens_map.json`.
"""

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from im_jax.errors import DataError

LARGEST_ID: Final = 2**24
"""Of a token, a hundred times more than any tokenizer has: each id below it is a row of the embedding."""
FLAGS: Final = ("special", "lstrip", "rstrip", "single_word", "normalized")
"""Of a token, in the files."""


class AddedToken(NamedTuple):
    """A token whose text is cut out before the rest is tokenised."""

    id: int
    content: str
    special: bool = False
    lstrip: bool = False
    """Whether it takes the white space before it."""
    rstrip: bool = False
    """Whether it takes the white space after it."""
    single_word: bool = False
    """Whether it is recognised only where no letter, digit or underscore touches it."""
    normalized: bool = True
    """Whether it is looked for last, in what the others left."""


def read_beside(file: pathlib.Path) -> tuple[dict[str, Any], list[AddedToken]]:
    """What the files beside a tokenizer say: names of special tokens and habits, and added tokens by id.

    Raises:
        DataError: a file is damaged, or they contradict each other.
    """
    folder = file.parent
    config = read_object(folder / "special_tokens_map.json") | read_object(folder / "tokenizer_config.json")
    told = folder / "tokenizer_config.json"
    tokens = [_token(told, i, entry) for i, entry in _mapping(told, config).items()]
    known = {token.content: token for token in tokens}
    special, old = _special_texts(config), folder / "added_tokens.json"
    for content, number in read_object(old).items():
        token_id = checked_id(old, content, number)
        if content not in known:
            plain = content not in special
            tokens.append(AddedToken(token_id, content, special=not plain, normalized=plain))
        elif known[content].id != token_id:
            raise DataError(
                f"{old} says that {content!r} is token {token_id}, but {told.name} says {known[content].id}; "
                "correct one of the two files"
            )
    return config, _without_doubles(file, sorted(tokens))


def read_object(file: pathlib.Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON in UTF-8: {error}; repair or remove it") from error
    if not isinstance(value, dict):
        raise DataError(f"{file} holds no JSON object; repair or remove it")
    return value


def checked_id(file: pathlib.Path, content: str, number: object) -> int:
    """The id of a token, if it can be one."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < LARGEST_ID:
        raise DataError(
            f"{file}: the id of {content!r} is {number!r}, which must be a whole number from 0 to "
            f"{LARGEST_ID - 1}; repair the file"
        )
    return number


def token_text(value: object) -> str | None:
    """Text of a special token in a configuration: `"</s>"`, `{"content": "</s>", ...}` or null."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


Part = tuple[str, int | None]
"""A text, and the id of the token that it is; None where it is still to be tokenised."""


class Cutter:
    """Cuts added tokens out of texts, as the tokenizers library does.

    text   Hi <mask> you     with `lstrip`
    parts  ("Hi", None), (" <mask>", 5), (" you", None)
    """

    def __init__(self, tokens: Iterable[AddedToken]) -> None:
        tokens = list(tokens)
        self._passes = [
            _Pass([token for token in tokens if token.normalized is last]) for last in (False, True)
        ]

    def cut(self, text: str) -> list[Part]:
        """The parts of a text in order, none of them empty: a token's with its id, all others with None."""
        parts: list[Part] = [(text, None)] if text else []
        for one in self._passes:
            parts = [
                piece
                for part, token_id in parts
                for piece in (one.cut(part) if token_id is None else [(part, token_id)])
            ]
        return parts


class _Pass:
    """Tokens that are looked for together: the first one counts, and of several there the longest."""

    def __init__(self, tokens: list[AddedToken]) -> None:
        self._tokens = {token.content: token for token in tokens}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def cut(self, text: str) -> Iterator[Part]:
        at = 0
        for match in self._pattern.finditer(text):
            token, (start, end) = self._tokens[match[0]], match.span()
            if start < at or (token.single_word and _touches_word(text, start, end)):
                continue
            if token.lstrip:
                start = max(at, len(text[:start].rstrip()))
            if token.rstrip:
                end += len(text[end:]) - len(text[end:].lstrip())
            if start > at:
                yield text[at:start], None
            yield text[start:end], token.id
            at = end
        if at < len(text):
            yield text[at:], None


def _touches_word(text: str, start: int, end: int) -> bool:
    return bool(re.match(r"\w", text[start - 1 : start]) or re.match(r"\w", text[end : end + 1]))


def _mapping(file: pathlib.Path, config: Mapping[str, Any]) -> dict[str, Any]:
    entries = config.get("added_tokens_decoder") or {}
    if not isinstance(entries, dict):
        raise DataError(f"{file}: added_tokens_decoder is no JSON object; repair the file")
    return entries


def _token(file: pathlib.Path, key: str, entry: object) -> AddedToken:
    content = token_text(entry)
    if not content:
        raise DataError(f"{file}: added_tokens_decoder has no text for token {key!r}; repair the file")
    token_id = checked_id(file, content, int(key) if key.isdecimal() and len(key) < 20 else key)
    flags = {name: entry[name] for name in FLAGS if name in entry} if isinstance(entry, dict) else {}
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise DataError(f"{file}: {name} of {content!r} is {value!r}, not true or false; repair the file")
    flags.setdefault("normalized", not flags.get("special", False))
    return AddedToken(token_id, content, **flags)


def _special_texts(config: Mapping[str, Any]) -> set[str | None]:
    more = config.get("additional_special_tokens")
    named = [value for key, value in config.items() if key.endswith("_token")]
    return set(map(token_text, [*named, *(more if isinstance(more, list) else [])]))


def _without_doubles(file: pathlib.Path, tokens: list[AddedToken]) -> list[AddedToken]:
    by_id: dict[int, str] = {}
    by_content: dict[str, int] = {}
    for token in tokens:
        if by_id.setdefault(token.id, token.content) != token.content:
            raise DataError(
                f"the files beside {file} give token {token.id} to {by_id[token.id]!r} and to "
                f"{token.content!r}; correct them"
            )
        if by_content.setdefault(token.content, token.id) != token.id:
            raise DataError(
                f"the files beside {file} say that {token.content!r} is token {by_content[token.content]} "
                f"and token {token.id}; correct them"
            )
    return tokens
