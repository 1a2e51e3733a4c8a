"""Calls of tools, and descriptions of tools, in the forms that public sets have.

    a call   {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": {"port": "Hull"}}}
             {"name": "tide", "arguments": "{\\"port\\": \\"Hull\\"}"}
    a tool   {"type": "function", "function": {"name": "tide", "parameters": {...}}}, or any other object

Lists of either may be one JSON text, as Parquet sets have them. What is null in an object counts as absent:
Parquet gives every object the fields of all.
"""

import json
from typing import Any, Final

from im_jax.data.records.conversation import ToolCall
from im_jax.data.records.refusals import described, fail, shown
from im_jax.data.records.texts import checked_text, optional_text, required_text
from im_jax.data.records.values import holds_something, holds_text

CALLS: Final = ("tool_calls", "function_call")
"""Fields of an assistant message: a list of calls, and the older one call."""
TOOLS: Final = ("tools", "functions")
"""Fields of a record: the descriptions, and what they were called before."""
_NO_ARGUMENTS: Final = "write {} where the tool takes none, or remove the record"


def tool_calls(turn: dict[str, Any], where: str, origin: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant message.

    Raises:
        DataError: a call is malformed, or there are two lists of them.
    """
    key = _one_of(CALLS, turn, f"{where}.", origin)
    if key is None:
        return ()
    where = f"{where}.{key}"
    value = _decoded(turn[key], where, origin)
    if isinstance(value, dict) and (key == "function_call" or isinstance(turn[key], str)):
        return (_call(value, where, origin),)
    if not isinstance(value, list) or key == "function_call":
        wanted = "a call, or its JSON text" if key == "function_call" else "a list of calls, or its JSON text"
        fail(origin, where, f"is {described(turn[key])}; must be {wanted}")
    return tuple(_call(call, f"{where}[{i}]", origin) for i, call in enumerate(value))


def _call(call: object, where: str, origin: str) -> ToolCall:
    if not isinstance(call, dict):
        fail(origin, where, f"is {described(call)}; must be an object with `name` and `arguments`")
    if (kind := call.get("type")) not in (None, "function"):
        fail(origin, f"{where}.type", f"is {shown(kind)}; only calls of type 'function' are read")
    inner, inside = call, where
    if call.get("function") is not None:
        inner, inside = call["function"], f"{where}.function"
        if not isinstance(inner, dict):
            fail(origin, inside, f"is {described(inner)}; must be an object with `name` and `arguments`")
        _refuse_others(call, ("id", "type", "function"), where, origin)
        _refuse_others(inner, ("name", "arguments"), inside, origin)
    else:
        _refuse_others(call, ("id", "type", "name", "arguments"), where, origin)
    name = required_text(inner, "name", f"{inside}.name", origin)
    arguments, as_text = _arguments(inner, f"{inside}.arguments", origin)
    return ToolCall(name, arguments, as_text, optional_text(call, "id", f"{where}.id", origin))


def _refuse_others(value: dict[str, Any], known: tuple[str, ...], where: str, origin: str) -> None:
    """Stop at text that nothing reads; numbers such as an index are no text."""
    for key, item in value.items():
        if key not in known and holds_text(item):
            fail(origin, f"{where}.{key}", f"is not read; a call has {', '.join(known)}; remove the field")


def _arguments(call: dict[str, Any], where: str, origin: str) -> tuple[str, bool]:
    """The arguments as JSON text, and whether the record has them as a text."""
    value = call.get("arguments")
    if isinstance(value, dict):
        return _as_json(value, where, origin), False
    if value is None:
        problem = "is null" if "arguments" in call else "is missing"
        fail(origin, where, f"{problem}; {_NO_ARGUMENTS}")
    if not isinstance(value, str):
        fail(origin, where, f"is {described(value)}; must be an object, or its JSON text")
    if not value.strip():
        fail(origin, where, f"is empty: {shown(value)}; {_NO_ARGUMENTS}")
    _refuse_twice(value, where, origin)
    return checked_text(value, where, origin), True


def tool_descriptions(record: dict[str, Any], read: set[str], origin: str) -> tuple[str, ...]:
    """JSON text of each tool that the assistant may call.

    Args:
        record: the decoded record.
        read: fields that are read as something else.
        origin: where it was read.

    Raises:
        DataError: there are two lists, or one is malformed.
    """
    key = _one_of([name for name in TOOLS if name not in read], record, "", origin)
    if key is None:
        return ()
    value = _decoded(record[key], key, origin)
    if not isinstance(value, list):
        fail(origin, key, f"is {described(record[key])}; must be a list of objects, or its JSON text")
    return tuple(_description(tool, f"{key}[{i}]", origin) for i, tool in enumerate(value))


def _description(tool: object, where: str, origin: str) -> str:
    value = _decoded(tool, where, origin)
    if not isinstance(value, dict) or not holds_text(value):
        fail(origin, where, f"is {described(tool)}; must be an object that describes a tool")
    return _as_json(value, where, origin)


def _one_of(names: Any, record: dict[str, Any], prefix: str, origin: str) -> str | None:
    """The one of some fields that holds anything."""
    held = [name for name in names if holds_something(record.get(name))]
    if len(held) > 1:
        fail(origin, f"{prefix}{held[1]}", f"stands beside `{prefix}{held[0]}`; keep one of them")
    return held[0] if held else None


def _decoded(value: object, where: str, origin: str) -> object:
    """What a JSON text says; other values as they are."""
    if not isinstance(value, str):
        return value
    _refuse_twice(value, where, origin)
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        fail(origin, where, f"is no JSON text: {shown(value)}: {error}; correct it, or remove the record")


def _refuse_twice(text: str, where: str, origin: str) -> None:
    """Stop at an object that has a field twice, of which Python would keep the last."""

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            fail(origin, where, f"has the field {shown(twice)} twice in one object; keep one of them")

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return  # arguments that are no JSON are a text as any other


def _as_json(value: dict[str, Any], where: str, origin: str) -> str:
    """JSON text of an object, without what is null in it."""
    try:
        text = json.dumps(_without_null(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        fail(origin, where, f"cannot be written as JSON: {error}; correct it, or remove the record")
    return checked_text(text, where, origin)


def _without_null(value: Any) -> Any:
    """Fields that are null go, at any depth; elements of lists stay."""
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value
