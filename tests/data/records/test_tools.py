"""Calls of tools, what tools answer, and descriptions of tools, in the forms that public sets have."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from im_jax.data.jsonl import JsonlSource
from im_jax.data.records import Message, ToolCall
from tests.data.records.test_conversation import ASSISTANT, USER, chat, read, refusal

ARGUMENTS = '{"port":"Hull",  "at": 1.50}'
CALL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": ARGUMENTS}}
TOOL = {"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}
TOLD = {"role": "tool", "content": "High.", "name": "tide", "tool_call_id": "c1"}


def calling(*calls: object, **parts: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)} | parts


def calls_of(*calls: object) -> tuple[ToolCall, ...]:
    return read(chat(USER, calling(*calls))).messages[1].tool_calls


def test_arguments_that_are_a_text_stay_character_by_character() -> None:
    assert calls_of(CALL) == (ToolCall("tide", ARGUMENTS, True, "c1"),)
    assert calls_of({"name": "tide", "arguments": "port=Hull"}) == (ToolCall("tide", "port=Hull"),)


def test_arguments_that_are_an_object_become_json_text_without_nulls() -> None:
    arguments = {"port": "H\u00fcll", "date": None, "deep": {"a": [None, {"b": None, "c": 1.5}]}, "none": {}}
    expected = '{"port": "H\u00fcll", "deep": {"a": [null, {"c": 1.5}]}, "none": {}}'
    assert calls_of({"name": "tide", "arguments": arguments}) == (ToolCall("tide", expected, False),)
    assert calls_of({"name": "now", "arguments": {"zone": None}})[0].arguments == "{}"


def test_forms_of_calls() -> None:
    flat, other = {"name": "tide", "arguments": {"n": 1}, "id": "7"}, {"name": "now", "arguments": "{}"}
    expected = (ToolCall("tide", '{"n": 1}', False, "7"), ToolCall("now", "{}"))
    assert calls_of(flat, other) == expected
    assert calls_of(flat | {"type": "function", "index": 0, "function": None}, other) == expected
    for text in (json.dumps([flat, other]), json.dumps(flat)):
        turn = calling(tool_calls=text)
        assert read(chat(USER, turn)).messages[1].tool_calls == expected[: text.count("name")]
    for old in (other, json.dumps(other)):
        message = read(chat(USER, ASSISTANT | {"function_call": old, "tool_calls": None})).messages[1]
        assert message == Message("assistant", "Hello", tool_calls=expected[1:])


def test_an_answer_of_calls_needs_no_text_and_one_of_neither_is_empty() -> None:
    for content in (None, "", " ", []):
        assert read(chat(USER, calling(CALL, content=content))).messages[1].content == ""
        assert "`messages[1].content` is " in refusal(chat(USER, calling(content=content)))
    assert read(chat(USER, {"role": "assistant", "tool_calls": [CALL]})).messages[1].content == ""


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("tide", "[0]` is the string 'tide'; must be an object with `name` and `arguments`"),
        ({}, "[0].name` is missing"),
        ({"name": " ", "arguments": {}}, "[0].name` is empty: ' '"),
        ({"name": 3, "arguments": {}}, "[0].name` is the number 3; must be a string"),
        ({"name": "tide"}, "[0].arguments` is missing; write {} where the tool takes none"),
        ({"name": "tide", "arguments": None}, "[0].arguments` is null; write {}"),
        ({"name": "tide", "arguments": ""}, "[0].arguments` is empty: ''; write {}"),
        ({"name": "tide", "arguments": ["Hull"]}, "[0].arguments` is the list ['Hull']; must be an object"),
        ({"name": "t", "arguments": {"a": float("nan")}}, "[0].arguments` cannot be written as JSON"),
        ({"name": "t", "arguments": {"a": "\ud800"}}, "[0].arguments` holds '\\ud800'"),
        (
            {"name": "t", "arguments": '{"a": 1, "b": {"c": 1, "c": 2}}'},
            "[0].arguments` has the field 'c' twice",
        ),
        ({"name": "t", "arguments": {}, "parameters": {"a": "b"}}, "[0].parameters` is not read"),
        ({"name": "t", "arguments": {}, "id": 3}, "[0].id` is the number 3"),
        ({"type": "custom", "name": "t", "arguments": {}}, "[0].type` is 'custom'; only calls of type"),
        ({"function": "tide"}, "[0].function` is the string 'tide'"),
        ({"function": {"arguments": {}}}, "[0].function.name` is missing"),
        ({"function": {"name": "t"}}, "[0].function.arguments` is missing"),
        ({"name": "u", "function": {"name": "t", "arguments": {}}}, "[0].name` is not read"),
        ({"function": {"name": "t", "arguments": {}, "note": "x"}}, "[0].function.note` is not read"),
    ],
)
def test_a_malformed_call_is_refused_with_its_place(call: object, expected: str) -> None:
    assert f"field `messages[1].tool_calls{expected}" in refusal(chat(USER, calling(call)))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"tool_calls": {"name": "t", "arguments": {}}}, "tool_calls` is the object {'name'"),
        ({"tool_calls": "tide()"}, "tool_calls` is no JSON text: 'tide()'"),
        ({"tool_calls": "3"}, "tool_calls` is the string '3'; must be a list of calls"),
        ({"tool_calls": 3}, "tool_calls` is the number 3"),
        ({"function_call": [CALL]}, "function_call` is the list"),
        (
            {"tool_calls": [CALL], "function_call": {"name": "t"}},
            "function_call` stands beside `messages[1].tool",
        ),
    ],
)
def test_a_malformed_list_of_calls_is_refused(parts: dict[str, Any], expected: str) -> None:
    assert f"field `messages[1].{expected}" in refusal(chat(USER, ASSISTANT | parts))


@pytest.mark.parametrize("role", ["tool", "function", "observation"])
def test_what_a_tool_says(role: str) -> None:
    conversation = read(chat(USER, calling(CALL), TOLD | {"role": role}, ASSISTANT))
    assert conversation.messages[2] == Message("tool", "High.", name="tide", tool_call_id="c1")
    assert conversation.unread == ()
    empty = read(chat(USER, calling(CALL), {"role": role, "content": ""}, ASSISTANT))
    assert empty.messages[2] == Message("tool", "")
    missing = refusal(chat(USER, calling(CALL), {"role": role, "content": None}, ASSISTANT))
    assert "`messages[2].content` is null" in missing
    said = refusal(chat(USER, calling(CALL), TOLD | {"content": {"tide": "high"}}, ASSISTANT))
    assert "must be a string: write the object as JSON text" in said
    for before in ((), (USER,)):
        alone = refusal(chat(*before, TOLD, ASSISTANT))
        assert f"`messages[{len(before)}].role` is that of a tool, but no call" in alone


def test_calls_and_answers_of_from_and_value() -> None:
    turns = [
        {"from": "human", "value": "Tide?"},
        {"from": "function_call", "value": '{"name": "tide", "arguments": {"port": "Hull"}}'},
        {"from": "observation", "value": "High."},
        {"from": "gpt", "value": "It is high."},
    ]
    conversation = read({"conversations": turns, "tools": json.dumps([TOOL])})
    assert conversation.messages[1:3] == (
        Message("assistant", "", tool_calls=(ToolCall("tide", '{"port": "Hull"}', False),)),
        Message("tool", "High."),
    )
    assert conversation.tools == (json.dumps(TOOL),)
    turns[1]["value"] = "tide(Hull)"
    assert "`conversations[1].tool_calls` is no JSON text" in refusal({"conversations": turns})


def test_names_and_ids_beside_other_messages_are_named_as_unread() -> None:
    record = chat(USER | {"name": "Ann"}, ASSISTANT | {"tool_call_id": "c1"})
    assert read(record).unread == ("messages[].name", "messages[].tool_call_id")


@pytest.mark.parametrize("name", ["tools", "functions"])
@pytest.mark.parametrize(
    "record", [chat(USER, ASSISTANT), {"prompt": "a", "completion": "b"}, {"instruction": "a", "output": "b"}]
)
def test_descriptions_of_tools(name: str, record: dict[str, Any]) -> None:
    flat = {"name": "now", "description": "Tells the t\u00efme.", "default": None, "enum": [None, 1]}
    expected = (json.dumps(TOOL), '{"name": "now", "description": "Tells the t\u00efme.", "enum": [null, 1]}')
    for tools in ([TOOL, flat], json.dumps([TOOL, flat]), [json.dumps(TOOL), flat]):
        conversation = read(record | {name: tools})
        assert conversation.tools == expected and conversation.unread == ()
    for nothing in (None, "", " ", [], "[]"):
        assert read(record | {name: nothing}).tools == ()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"tools": "tide"}, "`tools` is no JSON text: 'tide'"),
        ({"tools": TOOL}, "`tools` is the object"),
        ({"tools": '{"name": "tide"}'}, "`tools` is the string"),
        ({"tools": [TOOL, 3]}, "`tools[1]` is the number 3; must be an object that describes a tool"),
        ({"tools": [{}]}, "`tools[0]` is the object {}"),
        ({"tools": '[{"name": "a", "name": "b"}]'}, "`tools` has the field 'name' twice"),
        ({"tools": [TOOL], "functions": [TOOL]}, "`functions` stands beside `tools`; keep one of them"),
    ],
)
def test_malformed_descriptions_are_refused(record: dict[str, Any], expected: str) -> None:
    assert f"field {expected}" in refusal(chat(USER, ASSISTANT) | record)


def test_tools_of_a_message_are_refused_by_name() -> None:
    system = {"role": "system", "content": "Be brief.", "tools": [TOOL]}
    assert "`messages[0].tools` is not read" in refusal(chat(system, USER, ASSISTANT))


def test_parquet_gives_every_call_the_arguments_of_all(tmp_path: Path) -> None:
    tide = {"name": "tide", "arguments": {"port": "Hull"}}
    now = {"name": "now", "arguments": {"zone": {"hours": 2}}}
    tools = [
        {"name": "tide", "parameters": {"port": "string"}},
        {"name": "now", "parameters": {"zone": "object"}},
    ]
    record = chat(USER, calling(tide, now), TOLD | {"tool_call_id": None}, ASSISTANT) | {"tools": tools}
    path = tmp_path / "a.parquet"
    table = pyarrow.Table.from_pylist([record, chat(USER, ASSISTANT) | {"tools": None}])
    filled = table.to_pylist()[0]["messages"][1]["tool_calls"][0]["arguments"]
    assert filled == {"port": "Hull", "zone": None}
    pyarrow.parquet.write_table(table, path)
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps(r) for r in (record, chat(USER, ASSISTANT))))
    for row, line in zip(JsonlSource(str(path)), JsonlSource(str(lines)), strict=True):
        assert (row.messages, row.tools) == (line.messages, line.tools)
    assert row.tools == ()
