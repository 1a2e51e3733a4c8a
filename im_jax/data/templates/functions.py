"""Functions and filters of chat templates that are not Jinja's own: as in transformers, for traced texts."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import jinja2
import jinja2.filters

from im_jax.data.templates.given import GivenObject
from im_jax.data.templates.limits import MAX_DEPTH, LimitError, current, size_of
from im_jax.data.templates.traced import Run, Traced, concat, join, safe, traced


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON of a value, as Python writes it: Jinja's own filter escapes HTML and non-ASCII characters."""
    current().text(size_of(value)[1] * (1 + MAX_DEPTH * (indent or 0)) if indent else 0)
    dumps = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    ).encode
    if not _is_traced(value):
        return dumps(value)
    between, colon = separators or (", " if indent is None else ",", ": ")
    step = indent if isinstance(indent, str) or indent is None else " " * indent

    def bracketed(brackets: str, items: Iterable[str], level: int) -> str:
        parts = list(items)
        if not parts:
            return brackets
        outer, inner = ("", "") if step is None else ("\n" + step * level, "\n" + step * (level + 1))
        return concat([brackets[0], inner, join(between + inner, parts), outer, brackets[1]])

    def written(value: Any, level: int) -> str:
        if isinstance(value, Traced):
            return _json_text(value, dumps)
        if isinstance(value, Mapping):
            items = sorted(value.items()) if sort_keys else value.items()
            pairs = (concat([_key(key, dumps), colon, written(item, level + 1)]) for key, item in items)
            text = bracketed("{}", pairs, level)
            if isinstance(value, GivenObject):
                return traced(str.__str__(text), (Run(0, len(text), value.part, 0, 0),))
            return text
        if isinstance(value, list | tuple):
            return bracketed("[]", (written(item, level + 1) for item in value), level)
        return dumps(value)

    return written(value, 0)


def _is_traced(value: Any) -> bool:
    if isinstance(value, Mapping):
        return isinstance(value, GivenObject) or any(_is_traced(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_is_traced(item) for item in value)
    return isinstance(value, Traced)


def _key(key: Any, dumps: Callable[[Any], str]) -> str:
    """A key as JSON has it: numbers, truth values and none are written as texts."""
    return dumps(key) if isinstance(key, str) else dumps({key: 0})[1:].rpartition(":")[0].strip()


def _json_text(text: Traced, dumps: Callable[[Any], str]) -> str:
    """A text in quotation marks; a character that is escaped stays whose it was."""
    whole = dumps(str.__str__(text))
    if len(whole) == len(text) + 2:
        return concat(['"', text, '"'])
    return concat(['"', *(_escaped(character, dumps) for character in text), '"'])


def _escaped(character: str, dumps: Callable[[Any], str]) -> str:
    text = dumps(str.__str__(character))[1:-1]
    runs = character.runs if isinstance(character, Traced) else ()
    return traced(text, [Run(0, len(text), run.part, run.source, run.length) for run in runs])


def replace(text: Any, old: str, new: str, count: int | None = None) -> str:
    """The filter `replace`, and the method of plain texts."""
    text, times = _text(text), -1 if count is None else count
    if isinstance(text, Traced) or not isinstance(new, Traced):
        return str(text.replace(_text(old), _text(new), times))
    return Traced.replace(text, _text(old), new, times)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


@jinja2.pass_environment
def _join(
    environment: jinja2.Environment, values: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> str:
    if attribute is not None:
        values = map(jinja2.filters.make_attrgetter(environment, attribute), values)
    return join(_text(d), [_text(value) for value in values])


def _sum(values: Any, start: Any = 0) -> Any:
    """The sum of numbers; of lists it would take the square of their number."""
    numbers = list(values)
    if not all(isinstance(number, int | float) for number in (*numbers, start)):
        raise LimitError("adds up what are no numbers")
    return sum(numbers, start)


def raise_exception(message: str) -> NoReturn:
    """What templates refuse a conversation with."""
    raise jinja2.TemplateError(message)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "join": _join,
    "replace": replace,
    "safe": safe,
    "string": _text,
    "sum": _sum,
    "tojson": to_json,
    "trim": jinja2.filters.do_trim,
}
"""Filters in place of Jinja's own, which tell whose the texts are that they make of others."""

LOSING: Final = frozenset(
    [
        *(
            "capitalize",
            "center",
            "e",
            "escape",
            "filesizeformat",
            "forceescape",
            "format",
            "indent",
            "pprint",
        ),
        *("striptags", "title", "truncate", "urlencode", "urlize", "wordwrap", "xmlattr"),
    ]
)
"""Filters that make texts of texts and lose whose they are."""
