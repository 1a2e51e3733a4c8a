"""Conversations for families of chat templates, by what a format needs to write them.

Their contents are made of words that occur nowhere else, so that their characters are found by looking.
"""

import datetime
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from im_jax.data.records.conversation import Conversation, Message, ToolCall
from im_jax.data.templates.jinja import JinjaTemplate
from tests.data.templates.families import FAMILIES, Family

SPECIAL: Final = {"bos_token": "<s>", "eos_token": "</s>"}
MARKS: Final = ("<|observation|>", "<|call|>")
"""Special tokens that may end an answer."""
NOW: Final = datetime.datetime(2026, 2, 3, 4, 5)
TOOL: Final = json.dumps(
    {
        "type": "function",
        "function": {
            "name": "tide",
            "description": "Tells the tide.",
            "parameters": {
                "type": "object",
                "properties": {"port": {"type": "string", "description": "Where."}},
            },
        },
    }
)


def conversation(*messages: Message, tools: tuple[str, ...] = ()) -> Conversation:
    return Conversation("id", messages, "data.jsonl:7", (), tools)


def user(number: int) -> Message:
    return Message("user", f"quser{number} qasks \u00e9{number}?")


def answer(number: int, **parts: Any) -> Message:
    return Message("assistant", f"qanswer{number} qsays {number}.", **parts)


def thinking(number: int, **parts: Any) -> Message:
    return answer(number, thought=f"qthought{number} qmuses", **parts)


def inside(number: int) -> Message:
    return Message(
        "assistant", f"<think>\nqthought{number} qmuses\n</think>\n\nqanswer{number} qsays {number}."
    )


def call(number: int) -> ToolCall:
    return ToolCall("tide", json.dumps({"port": f"qport{number} qbay"}), as_text=False)


def calling(*numbers: int, **parts: Any) -> Message:
    return Message("assistant", "", tool_calls=tuple(map(call, numbers)), **parts)


def told(number: int) -> Message:
    return Message("tool", f"qtool{number} qtells", name="tide")


SYSTEM: Final = Message("system", "qsystem qrules.")
CONVERSATIONS: Final = {
    "": {
        "one turn": conversation(user(1), answer(1)),
        "two turns": conversation(user(1), answer(1), user(2), answer(2)),
        "a last question": conversation(user(1), answer(1), user(2)),
    },
    "system": {"system": conversation(SYSTEM, user(1), answer(1), user(2), answer(2))},
    "thoughts": {
        "a thought": conversation(user(1), thinking(1)),
        "thoughts": conversation(user(1), thinking(1), user(2), thinking(2)),
        "one with a thought": conversation(user(1), answer(1), user(2), thinking(2)),
        "a thought alone": conversation(user(1), Message("assistant", "", thought="qthought1 qmuses")),
    },
    "inside": {
        "a thought inside": conversation(user(1), inside(1)),
        "thoughts inside": conversation(user(1), inside(1), user(2), inside(2)),
    },
    "tools": {"tools": conversation(SYSTEM, user(1), answer(1), tools=(TOOL,))},
    "calls": {
        "a call": conversation(SYSTEM, user(1), calling(1), told(1), answer(1)),
        "a call after a turn": conversation(user(1), answer(1), user(2), calling(1), told(1), answer(2)),
        "a call at the end": conversation(user(1), calling(1)),
        "calls one after the other": conversation(
            user(1), calling(1), told(1), calling(2), told(2), answer(1), user(2), answer(2)
        ),
        "a tool that says nothing": conversation(
            user(1), calling(1), Message("tool", "", name="tide"), answer(1)
        ),
    },
    "text_calls": {
        "text and a call": conversation(user(1), answer(1, tool_calls=(call(1),)), told(1), answer(2)),
    },
    "calls_at_once": {
        "calls at once": conversation(user(1), calling(1, 2), told(1), told(2), answer(1)),
    },
    "thought_calls": {
        "thoughts and a call": conversation(
            user(1), calling(1, thought="qthought1 qmuses"), told(1), thinking(2)
        ),
    },
}
"""By what a family's format must have (`Family.has`)."""


def examples(family: Family) -> Iterator[tuple[str, Conversation, bool]]:
    """Each conversation, with its name and whether the family can write it; its tools are listed where it can."""
    has = ("", *family.has.split())
    for needs, cases in CONVERSATIONS.items():
        for name, example in cases.items():
            called = any(message.tool_calls for message in example.messages)
            tools = (TOOL,) if called and "tools" in has else example.tools
            # A thought that a format has no place for beside the content is written into it.
            in_content = needs == "thoughts" or (needs == "thought_calls" and "text_calls" in has)
            able = needs in has or (in_content and "inside" in has)
            yield name, conversation(*example.messages, tools=tools), able


def cases(able: bool) -> list[Any]:
    """A parameter for each family and each conversation that it can write, or cannot."""
    return [
        pytest.param(family, example, id=f"{name}, {case}")
        for name, family in FAMILIES.items()
        for case, example, can in examples(family)
        if can is able
    ]


def template(source: str) -> JinjaTemplate:
    """The template of a source, with a date and special tokens of ours."""
    if source not in _TEMPLATES:
        _TEMPLATES[source] = JinjaTemplate("family", source, SPECIAL, NOW, MARKS)
    return _TEMPLATES[source]


_TEMPLATES: dict[str, JinjaTemplate] = {}
