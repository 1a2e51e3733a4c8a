"""Conversations, and how a decoded record of a data file becomes one.

A record is a JSON object in one of three formats, told apart by the fields it has (their names can be
changed with `data.fields`; `null` counts as absent):

    {"messages": [{"role": "user", "content": "Hi", "weight": 0.5}, {"role": "assistant", ...}]}
    {"prompt": "Hi", "completion": "Hello"}                      optional: "system"
    {"instruction": "Add.", "input": "1 + 2", "output": "3"}     optional: "input", "system"

Every format may carry an "id". Whatever cannot be trained on as it stands is refused with a `DataError`
that names the place, the field and the value: nothing is guessed and nothing is repaired.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from im_jax.config import FieldNames
from im_jax.errors import DataError

ROLES: Final = ("system", "user", "assistant")
DEFAULT_FIELDS: Final = FieldNames()


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """One of `ROLES`."""
    content: str
    weight: float = 1.0
    """Multiplies the loss weight of the message's tokens; a float32 value, as in `Batch`."""
    input: str = ""
    """Second part of a user message, which some templates give a heading of its own."""

    @property
    def text(self) -> str:
        """The whole message for templates that know no separate input."""
        return f"{self.content}\n\n{self.input}" if self.input else self.content


@dataclass(frozen=True)
class Conversation:
    """One example: an optional system message, then turns that start with the user."""

    id: str
    messages: tuple[Message, ...]
    origin: str
    """Where it was read, as `file:line`, for error messages."""


def conversation_from_record(
    record: object, origin: str, fields: FieldNames = DEFAULT_FIELDS
) -> Conversation:
    """Turns a decoded record into a conversation; the id is the record's own or else its origin.

    Raises:
        DataError: for a malformed record, naming origin, field and value.
    """
    if not isinstance(record, dict):
        raise DataError(f"{origin}: is {_described(record)}; each record must be a JSON object")
    messages = _FORMATS[_format_of(record, origin, fields)](record, origin, fields)
    return Conversation(_identity(record, origin), messages, origin)


def _format_of(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[str, ...]:
    """The one format whose required fields the record all has."""
    formats = {required: [getattr(fields, field) for field in required] for required in _FORMATS}
    complete = [f for f, keys in formats.items() if all(record.get(key) is not None for key in keys)]
    if len(complete) == 1:
        return complete[0]
    if complete:
        found = " and ".join(f"`{'/'.join(formats[required])}`" for required in complete)
        flag = f"--config.data.fields.{complete[0][0]}="
        raise DataError(f"{origin}: has both {found}; disable one by an empty name, for example {flag}")

    _refuse_unknown_format(record, origin, formats)


def _refuse_unknown_format(
    record: dict[str, Any], origin: str, formats: dict[tuple[str, ...], list[str]]
) -> NoReturn:
    """Names the field that would complete a format, or else the settings that look likeliest."""
    keys_found = ", ".join(_shown(key) for key, value in record.items() if value is not None) or "none"
    for required, keys in formats.items():
        for field, key in zip(required, keys, strict=True):
            if record.get(key) is None and any(record.get(other) is not None for other in keys):
                advice = f"add it, or set {_suggested_flag(field, record)}; fields found: {keys_found}"
                _fail(origin, key, f"is missing; {advice}")
    wanted = ", or ".join(" with ".join(f"`{key}`" for key in keys) for keys in formats.values())
    likely = [required for required in _FORMATS if all(_likely_key(f, record) for f in required)]
    flags = " ".join(_suggested_flag(f, record) for f in (likely or [("prompt", "completion")])[0])
    raise DataError(f"{origin}: needs {wanted}, but the fields found are: {keys_found}; set {flags}")


_OUTPUT_NAMES: Final = ("output", "completion", "response", "answer", "target", "solution")
_USUAL_NAMES: Final = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "chat", "turns"),
    "prompt": ("prompt", "question", "query", "problem", "instruction"),
    "completion": _OUTPUT_NAMES,
    "instruction": ("instruction", "task", "question", "prompt"),
    "output": _OUTPUT_NAMES,
}


def _likely_key(field: str, keys: Iterable[str]) -> str | None:
    """The key that other data sets use for this field, if the record has one."""
    return next((key for key in keys if key.lower() in _USUAL_NAMES[field]), None)


def _suggested_flag(field: str, keys: Iterable[str]) -> str:
    return f"--config.data.fields.{field}={_likely_key(field, keys) or 'NAME'}"


def _from_messages(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[Message, ...]:
    name, turns = fields.messages, record[fields.messages]
    if not isinstance(turns, list) or not turns:
        _fail(origin, name, f"is {_described(turns)}; must be a list of messages")
    messages = tuple(_message(turn, f"{name}[{i}]", origin) for i, turn in enumerate(turns))
    first = 1 if messages[0].role == "system" else 0
    for i, message in enumerate(messages):
        if message.role == "system" and i > 0:
            _fail(origin, f"{name}[{i}].role", "is 'system'; only the first message may be one")
        if message.role == "assistant" and i == first:
            _fail(origin, f"{name}[{i}].role", "is 'assistant'; the user must speak first")
    if all(message.role != "assistant" for message in messages):
        _fail(origin, name, "has no assistant message; add the answer to learn")
    return messages


def _message(turn: object, where: str, origin: str) -> Message:
    if not isinstance(turn, dict):
        _fail(origin, where, f"is {_described(turn)}; must be an object with `role` and `content`")
    role = turn.get("role")
    if role not in ROLES:
        problem = "is missing" if role is None else f"is {_shown(role)}"
        _fail(origin, f"{where}.role", f"{problem}; use one of {', '.join(ROLES)}")
    message = Message(
        role=role,
        content=_text(turn, "content", f"{where}.content", origin),
        weight=_weight(turn.get("weight"), f"{where}.weight", origin),
        input=_optional_text(turn, "input", f"{where}.input", origin),
    )
    if message.input and role != "user":
        _fail(origin, f"{where}.input", "belongs to a user message only; move it into `content`")
    return message


def _from_prompt(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[Message, ...]:
    prompt = Message("user", _text(record, fields.prompt, fields.prompt, origin))
    completion = Message("assistant", _text(record, fields.completion, fields.completion, origin))
    return (*_system(record, origin, fields), prompt, completion)


def _from_instruction(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[Message, ...]:
    instruction = Message(
        "user",
        _text(record, fields.instruction, fields.instruction, origin),
        input=_optional_text(record, fields.input, fields.input, origin),
    )
    output = Message("assistant", _text(record, fields.output, fields.output, origin))
    return (*_system(record, origin, fields), instruction, output)


def _system(record: dict[str, Any], origin: str, fields: FieldNames) -> tuple[Message, ...]:
    system = _optional_text(record, fields.system, fields.system, origin)
    return (Message("system", system),) if system else ()


_FORMATS: Final[dict[tuple[str, ...], Callable[[dict[str, Any], str, FieldNames], tuple[Message, ...]]]] = {
    ("messages",): _from_messages,
    ("prompt", "completion"): _from_prompt,
    ("instruction", "output"): _from_instruction,
}
"""Required fields of each format, and what reads it."""


def _identity(record: dict[str, Any], origin: str) -> str:
    identity = record.get("id")
    if isinstance(identity, int) and not isinstance(identity, bool):
        return str(identity)
    return _optional_text(record, "id", "id", origin) if isinstance(identity, str) and identity else origin


def _text(record: dict[str, Any], key: str, where: str, origin: str) -> str:
    text = _optional_text(record, key, where, origin)
    if not text:
        problem = "is missing" if record.get(key) is None else f"is empty: {_shown(record[key])}"
        _fail(origin, where, f"{problem}; give it some text or remove the record")
    return text


def _optional_text(record: dict[str, Any], key: str, where: str, origin: str) -> str:
    """The text, or "" where it is absent or only white space (table exports fill absent cells so)."""
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        _fail(origin, where, f"is {_described(value)}; must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON can write half of a surrogate pair; no UTF-8 text and no tokenizer can hold one.
        bad = _shown(value[error.start])
        problem = f"holds {bad} at character {error.start + 1}, half of a surrogate pair"
        _fail(origin, where, f"{problem}, which cannot be encoded as UTF-8; write the whole character")
    return value if value.strip() else ""


_MAX_WEIGHT: Final = float(np.finfo(np.float32).max)


def _weight(value: object, where: str, origin: str) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_WEIGHT:
        _fail(origin, where, f"is {_described(value)}; must be a finite number >= 0")
    return float(np.float32(value))


def _fail(origin: str, field: str, problem: str) -> NoReturn:
    raise DataError(f"{origin}: field `{field}` {problem}")


_JSON_TYPES: Final = {dict: "the object", list: "the list", str: "the string", bool: "the boolean"}


def _described(value: object) -> str:
    """Type and value, in the words of JSON."""
    return "null" if value is None else f"{_JSON_TYPES.get(type(value), 'the number')} {_shown(value)}"


def _shown(value: object) -> str:
    """The value, shortened and escaped, so that it prints on any terminal in one line."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
