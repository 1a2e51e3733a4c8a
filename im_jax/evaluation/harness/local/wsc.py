"""The Winograd Schema Challenge: the first 273 sentences of the collection in XML."""

import pathlib
from xml.etree import ElementTree

from im_jax.errors import DataError
from im_jax.evaluation.harness.local.files import Row, Splits, parsed

FILES = ("wsc/WSCollection.xml",)
_COUNT = 273


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns text, pronoun, pronoun_loc, options, label (0 or 1)."""
    del task
    path = folder / FILES[0]
    try:
        schemas = ElementTree.parse(path).getroot().findall("schema")
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(schemas) < _COUNT:
        raise DataError(f"{path} has {len(schemas)} sentences, and WSC273 is the first {_COUNT}")
    return {"test": parsed(({"schema": schema} for schema in schemas[:_COUNT]), _row, path)}


def _row(record: Row) -> Row:
    schema: ElementTree.Element = record["schema"]
    before, pronoun, after = (_words(schema, f"text/{name}") for name in ("txt1", "pron", "txt2"))
    options = [" ".join((option.text or "").split()) for option in schema.findall("answers/answer")]
    correct = _words(schema, "correctAnswer").strip(". ")
    if len(options) != 2 or correct not in ("A", "B") or not pronoun:
        raise ValueError(f"{len(options)} answers, the right one {correct!r}, for the pronoun {pronoun!r}")
    return {
        "text": " ".join(part for part in (before, pronoun, after) if part),
        "pronoun": pronoun,
        "pronoun_loc": len(before) + 1 if before else 0,
        "options": options,
        "label": int(correct == "B"),
    }


def _words(schema: ElementTree.Element, path: str) -> str:
    return " ".join((schema.findtext(path) or "").split())
