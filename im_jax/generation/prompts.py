"""Prompts from a file: a record a line, with its own parameters beside the prompt, if it has any."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from im_jax.data.files import BadRecord, File, Record, chunks
from im_jax.data.records.message import message_of
from im_jax.data.records.tools import tool_descriptions
from im_jax.errors import DataError, UserError
from im_jax.generation.generator import Generator
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Request
from im_jax.models.loaded import Model

_OWN: Final = ("id", "prompt", "messages", "tools")
_PARAMETERS: Final = tuple(field.name for field in dataclasses.fields(SamplingParams))


class Refused(NamedTuple):
    """A prompt that cannot be answered."""

    id: str
    reason: str


def read_prompts(
    path: str | os.PathLike[str], generator: Generator, model: Model, defaults: Mapping[str, Any]
) -> list[Request | Refused]:
    """The requests of a file, in its order.

    A record has `prompt`, a text to go on with, or `messages` (and `tools`) for the model's template; an
    `id`, a text or a number, or the number of its line; and parameters of sampling.

    Args:
        path: of JSON Lines, also packed.
        generator: which says what can be answered; what cannot comes back as `Refused`.
        model: whose tokenizer and template write the prompts.
        defaults: parameters of sampling of records that do not name them.

    Raises:
        DataError: a line is no such record, an id is there twice, or a parameter is unknown or not allowed.
    """
    found: dict[str, Request | Refused] = {}
    for number, record in enumerate(_records(path), start=1):
        fields = record.value
        if not isinstance(fields, dict):
            raise DataError(f"{record.origin}: is no JSON object; write one with `prompt` or `messages`")
        name = _name(fields, number, record.origin)
        if name in found:
            raise DataError(f"{record.origin}: the id {name!r} was there before; give each record its own")
        given = {key: value for key, value in fields.items() if key not in _OWN}
        for key in given:
            if key not in _PARAMETERS:
                known = ", ".join((*_OWN, *_PARAMETERS))
                raise DataError(f"{record.origin}: {key!r} is no field of a prompt; known are {known}")
        try:
            params = SamplingParams.from_record(given, defaults)
        except DataError as error:
            raise DataError(f"{record.origin}: {error}") from None
        found[name] = _request(name, fields, params, record.origin, generator, model)
    if not found:
        raise DataError(f"{os.fspath(path)} holds no prompts; write a record a line")
    return list(found.values())


def _records(path: str | os.PathLike[str]) -> list[Record]:
    records: list[Record] = []
    for chunk in chunks([File(os.fspath(path))], "prompts"):
        for record in chunk.records():
            if isinstance(record, BadRecord):
                raise DataError(record.message)
            assert isinstance(record, Record)
            records.append(record)
    return records


def _name(fields: dict[str, Any], number: int, origin: str) -> str:
    name = fields.get("id", number)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(f"{origin}: id is {name!r}; write a text or a whole number")
    return str(name)


def _request(
    name: str, fields: dict[str, Any], params: SamplingParams, origin: str, generator: Generator, model: Model
) -> Request | Refused:
    messages, text = fields.get("messages"), fields.get("prompt")
    if (messages is None) == (text is None):
        raise DataError(
            f"{origin}: has {'both' if text else 'neither'} of `prompt` and `messages`; write one"
        )
    if text is not None and not isinstance(text, str):
        raise DataError(f"{origin}: prompt must be a text, not {str(text)[:40]!r}")
    if messages is not None and not (isinstance(messages, list) and messages):
        raise DataError(f"{origin}: messages must be a list of objects with `role` and `content`")
    if messages is None and fields.get("tools") is not None:
        raise DataError(
            f"{origin}: tools stand beside `prompt`, where no template writes them; use `messages`"
        )
    try:
        if messages is None:
            tokens = model.text(str(text))
        else:
            turns = [message_of(turn, f"messages[{i}]", origin) for i, turn in enumerate(messages)]
            tokens = model.prompt(turns, tool_descriptions(fields, {"prompt", "messages"}, origin))
        request = Request(name, tokens, params, continues=messages is None)
        generator.check(request)
    except UserError as error:
        return Refused(name, str(error).removeprefix(f"{name}: "))
    return request
