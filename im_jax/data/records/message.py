"""How one turn of a record becomes a message: its role, its content, and what an answer has beside it."""

from typing import Any, Final

from im_jax.data.records.conversation import Message
from im_jax.data.records.message_weights import FLAGS, message_weight
from im_jax.data.records.naming import SPEAKERS
from im_jax.data.records.refusals import described, fail, shown
from im_jax.data.records.texts import content_text, optional_text, refuse_empty
from im_jax.data.records.tools import CALLS, tool_calls
from im_jax.data.records.values import holds_something

ROLE_NAMES: Final = {"user": "user", "assistant": "assistant"} | {
    name: role for name, role in SPEAKERS.items() if role in ("system", "tool")
}
"""Role of a message by what its `role` says: `developer` is the system, `function` a tool."""
THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")
"""Fields of an assistant message that hold what it thinks before its content."""
_READ: Final = ("role", "content", "weight", *FLAGS)
_OF_ROLE: Final = {
    "user": ("input",),
    "assistant": (*THOUGHTS, *CALLS),
    "tool": ("name", "tool_call_id"),
}
_REFUSED: Final = frozenset(
    [
        *(*THOUGHTS, *CALLS, "tools", "functions", "function_calls", "refusal"),
        *("image", "images", "video", "videos", "audio", "audios"),
    ]
)
"""Parts of a message that the model would have to write or to see; read only where `_OF_ROLE` says so."""


def message_of(turn: object, where: str, origin: str) -> Message:
    """A message of `role` and `content`; whether it must say something is asked of turns together.

    Raises:
        DataError: it is malformed; naming field and value.
    """
    if not isinstance(turn, dict):
        fail(origin, where, f"is {described(turn)}; must be an object with `role` and `content`")
    name = turn.get("role")
    role = ROLE_NAMES.get(name) if isinstance(name, str) else None
    if role is None:
        problem = "is missing" if name is None else f"is {shown(name)}"
        fail(origin, f"{where}.role", f"{problem}; use one of system, user, assistant, tool")
    _refuse_parts(turn, role, where, origin)
    answers, of_tool = role == "assistant", role == "tool"
    message = Message(
        role=role,
        content=content_text(turn, "content", f"{where}.content", origin),
        weight=message_weight(turn, where, origin),
        input=optional_text(turn, "input", f"{where}.input", origin),
        thought=_thought(turn, where, origin) if answers else "",
        tool_calls=tool_calls(turn, where, origin) if answers else (),
        name=optional_text(turn, "name", f"{where}.name", origin) if of_tool else "",
        tool_call_id=optional_text(turn, "tool_call_id", f"{where}.tool_call_id", origin) if of_tool else "",
    )
    if message.input and role != "user":
        fail(origin, f"{where}.input", "belongs to a user message only; move it into `content`")
    if of_tool and turn.get("content") is None:
        refuse_empty(turn, "content", f"{where}.content", origin)
    return message


def unread_of(turn: dict[str, Any]) -> list[str]:
    """Fields of a usable message that nothing reads."""
    read = (*_READ, *_OF_ROLE.get(ROLE_NAMES[turn["role"]], ()))
    return [key for key, value in turn.items() if key not in read and holds_something(value)]


def _refuse_parts(turn: dict[str, Any], role: str, where: str, origin: str) -> None:
    for key, value in turn.items():
        if key not in _REFUSED or key in _OF_ROLE.get(role, ()) or not holds_something(value):
            continue
        if key in _OF_ROLE["assistant"]:
            problem = f"belongs to an assistant message only, and this one is of {turn['role']}"
        else:
            problem = "is not read, and the answer would be learned without it"
        fail(origin, f"{where}.{key}", f"{problem}; remove the field or the record")


def _thought(turn: dict[str, Any], where: str, origin: str) -> str:
    told: list[str] = [key for key in THOUGHTS if key in turn]
    texts = {key: optional_text(turn, key, f"{where}.{key}", origin) for key in told}
    held = {key: text for key, text in texts.items() if text}
    first = next(iter(held), "")
    for key, text in held.items():
        if text != held[first]:
            fail(origin, f"{where}.{key}", f"says another thing than `{where}.{first}`; keep one of them")
    return held.get(first, "")
