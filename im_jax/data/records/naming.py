"""Names and forms that public sets use for the three formats."""

from dataclasses import replace
from typing import Any, Final

from im_jax.config import FieldNames

_DEFAULT: Final = FieldNames()
_OTHER_NAMES: Final[tuple[dict[str, str], ...]] = (
    {"messages": "conversations"},
    {"prompt": "prompt", "completion": "response"},
    {"prompt": "question", "completion": "answer"},
    {"prompt": "question", "completion": "response"},
    {"instruction": "instruction", "output": "response"},
)
"""Required fields of a format under names that other sets give them."""
_OTHER_OPTIONAL: Final = {"system": "system_prompt", "input": "context"}
SPEAKERS: Final = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bard", "bing", "assistant"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
}
"""Role of the speaker that `from` names."""


def other_names(record: dict[str, Any], fields: FieldNames) -> list[FieldNames]:
    """The names under which the record completes a format, where it does not under those of `fields`.

    A name that `data.fields` gives stays, so an empty one switches its format off.
    """
    found = []
    for names in _OTHER_NAMES:
        free = all(getattr(fields, field) == getattr(_DEFAULT, field) for field in names)
        if free and all(record.get(key) is not None for key in names.values()):
            optional = {
                field: key
                for field, key in _OTHER_OPTIONAL.items()
                if getattr(fields, field) == getattr(_DEFAULT, field)
                and record.get(getattr(fields, field)) is None
                and record.get(key) is not None
                and (field == "system" or "instruction" in names)
            }
            found.append(replace(fields, **names, **optional))
    return found


def as_messages(turns: list[Any]) -> list[Any]:
    """Turns of `role` and `content`, made of turns of `from` and `value` or of texts that alternate.

    The user's is the first of two or more texts. What is neither is given as it is.
    """
    if len(turns) > 1 and all(isinstance(turn, str) for turn in turns):
        return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return [_as_message(turn) for turn in turns]


def _as_message(turn: object) -> object:
    if not isinstance(turn, dict) or turn.get("from") is None:
        return turn
    if any(turn.get(key) is not None for key in ("role", "content")):
        return turn
    who = turn["from"]
    rest = {key: value for key, value in turn.items() if key not in ("from", "value", "role", "content")}
    if who == "function_call" and turn.get("tool_calls") is None:
        return rest | {"role": "assistant", "tool_calls": turn.get("value")}
    told = {"content": turn["value"]} if "value" in turn else {}
    return {"role": SPEAKERS.get(who, who) if isinstance(who, str) else who, **told, **rest}
