"""How a decoded record of a data file becomes a conversation.

A record is a JSON object in one of three formats, told apart by the fields it has (their names can be
changed with `data.fields`; `null` counts as absent):

    {"messages": [{"role": "user", "content": "Hi", "weight": 0.5}, {"role": "assistant", ...}]}
    {"prompt": "Hi", "completion": "Hello"}                       or two lists of messages
    {"instruction": "Add.", "input": "1 + 2", "output": "3"}     optional: "input"

Other names and forms of these are in `naming`. Every format may carry an "id" and a "system". Whatever
cannot be trained on as it stands is refused with a `DataError` that names the place, the field and the
value: nothing is guessed, nothing is repaired, and text that is left out is named.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from im_jax.config import FieldNames, TurnsConfig
from im_jax.data.files import BadRecord, Record
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.records.formats import DEFAULT_FIELDS, OPTIONAL, format_of
from im_jax.data.records.message import message_of
from im_jax.data.records.message_weights import refuse_record_weights
from im_jax.data.records.naming import as_messages
from im_jax.data.records.refusals import described, fail
from im_jax.data.records.texts import optional_text
from im_jax.data.records.tools import TOOLS, tool_descriptions
from im_jax.data.records.turns import DEFAULT_TURNS, Turn, settle
from im_jax.data.records.unread import refuse_parts, said_again, unread_fields
from im_jax.data.records.values import holds_something
from im_jax.errors import DataError


def conversation_of(
    record: Record | BadRecord, fields: FieldNames = DEFAULT_FIELDS, turns: TurnsConfig = DEFAULT_TURNS
) -> Conversation:
    """The conversation of a record of a file.

    Raises:
        DataError: it could not be decoded, or is malformed.
        LeftOutByTurns: `turns` leaves it out.
    """
    if isinstance(record, BadRecord):
        raise DataError(record.message)
    return conversation_from_record(record.value, record.origin, fields, turns)


def conversation_from_record(
    record: object, origin: str, fields: FieldNames = DEFAULT_FIELDS, turns: TurnsConfig = DEFAULT_TURNS
) -> Conversation:
    """Turns a decoded record into a conversation; the id is the record's own or else its origin.

    Raises:
        DataError: for a malformed record, naming origin, field and value.
        LeftOutByTurns: `turns` leaves it out.
    """
    if not isinstance(record, dict):
        raise DataError(f"{origin}: is {described(record)}; each record must be a JSON object")
    required, fields = format_of(record, origin, fields)
    lists = _lists(record, required, fields)
    record = record | {name: as_messages(record[name]) for name in lists}
    read = {getattr(fields, name) for name in (*required, *OPTIONAL[required])} | {"id"}
    refuse_parts(record, read, origin)
    refuse_record_weights(record, read, origin)
    found = _FORMATS[required](record, origin, fields)
    settled = settle(found, origin, getattr(fields, required[-1]), turns)
    tools = tool_descriptions(record, read, origin)
    read |= {*TOOLS, *said_again(record, fields.prompt, [turn.message for turn in found])}
    unread = unread_fields(record, read, lists)
    return Conversation(_identity(record, origin), settled.messages, origin, unread, tools, settled.done)


def _lists(record: dict[str, Any], required: tuple[str, ...], fields: FieldNames) -> list[str]:
    """Fields that hold lists of messages: that of `messages`, or both of a prompt and its completion."""
    values = {getattr(fields, name): record[getattr(fields, name)] for name in required}
    if required == ("messages",):
        return [name for name, value in values.items() if isinstance(value, list)]
    both = all(isinstance(value, list) and _are_objects(value) for value in values.values())
    return list(values) if both else []


def _are_objects(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values)


def _from_messages(record: dict[str, Any], origin: str, fields: FieldNames) -> list[Turn]:
    system, turns = _system(record, origin, fields), _listed(record, fields.messages, origin)
    if system and turns and turns[0].message.role == "system":
        problem = f"stands beside the system message `{turns[0].where}`; keep one of them"
        fail(origin, fields.system, problem)
    return system + turns


def _listed(record: dict[str, Any], name: str, origin: str) -> list[Turn]:
    """The turns of a list of messages."""
    listed = record[name]
    if not isinstance(listed, list) or not listed:
        fail(origin, name, f"is {described(listed)}; must be a list of messages")
    return [
        Turn(message_of(turn, f"{name}[{i}]", origin), turn, "content", f"{name}[{i}]")
        for i, turn in enumerate(listed)
        if not _is_empty(turn)
    ]


def _is_empty(turn: object) -> bool:
    """Whether it is a system message without text, which is none, as a `system` field without text is."""
    if not isinstance(turn, dict) or turn.get("role") not in ("system", "developer"):
        return False
    return "content" in turn and not holds_something(turn["content"])


def _from_prompt(record: dict[str, Any], origin: str, fields: FieldNames) -> list[Turn]:
    if _lists(record, ("prompt", "completion"), fields):
        answers = _listed(record, fields.completion, origin)
        for turn in answers[:1]:
            if turn.message.role != "assistant":
                problem = f"is {turn.message.role!r}; a completion begins with what the assistant says"
                fail(origin, turn.field("role"), problem)
        return _from_messages(record, origin, replace(fields, messages=fields.prompt)) + answers
    prompt = _turn("user", record, fields.prompt, origin)
    completion = _turn("assistant", record, fields.completion, origin)
    return [*_system(record, origin, fields), prompt, completion]


def _from_instruction(record: dict[str, Any], origin: str, fields: FieldNames) -> list[Turn]:
    given = optional_text(record, fields.input, fields.input, origin)
    instruction = _turn("user", record, fields.instruction, origin, given)
    output = _turn("assistant", record, fields.output, origin)
    return [*_system(record, origin, fields), instruction, output]


def _turn(role: str, record: dict[str, Any], key: str, origin: str, given: str = "") -> Turn:
    """A turn whose text is a field of the record."""
    return Turn(Message(role, optional_text(record, key, key, origin), input=given), record, key)


def _system(record: dict[str, Any], origin: str, fields: FieldNames) -> list[Turn]:
    turn = _turn("system", record, fields.system, origin)
    return [turn] if turn.message.content else []


_FORMATS: Final[dict[tuple[str, ...], Callable[[dict[str, Any], str, FieldNames], list[Turn]]]] = {
    ("messages",): _from_messages,
    ("prompt", "completion"): _from_prompt,
    ("instruction", "output"): _from_instruction,
}
"""Required fields of each format, and what reads it."""


def _identity(record: dict[str, Any], origin: str) -> str:
    identity = record.get("id")
    if isinstance(identity, int) and not isinstance(identity, bool):
        return str(identity)
    return optional_text(record, "id", "id", origin) if isinstance(identity, str) and identity else origin
