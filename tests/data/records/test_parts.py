"""What a message holds beside one text: thoughts, contents in parts, other names of roles."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from im_jax.data.jsonl import JsonlSource
from im_jax.data.records import Message
from tests.data.records.test_conversation import ASSISTANT, USER, chat, read, refusal


def answered(**parts: Any) -> Message:
    return read(chat(USER, ASSISTANT | parts)).messages[1]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_what_an_answer_thinks_is_its_thought_as_it_stands(name: str) -> None:
    assert answered(**{name: " Two\nand two. "}) == Message("assistant", "Hello", thought=" Two\nand two. ")
    assert answered(**{name: "Hm.", "content": None}) == Message("assistant", "", thought="Hm.")
    for nothing in (None, "", " \n"):
        assert answered(**{name: nothing}) == Message("assistant", "Hello")
        assert "content` is null" in refusal(chat(USER, ASSISTANT | {name: nothing, "content": None}))
    assert "`messages[1].content` is missing" in refusal(chat(USER, {"role": "assistant", name: ""}))


def test_one_thought_under_two_names_is_one_and_two_are_refused() -> None:
    assert answered(reasoning="Hm.", thinking="Hm.", reasoning_content=None).thought == "Hm."
    message = refusal(chat(USER, ASSISTANT | {"reasoning": "Hm.", "thinking": "Oh."}))
    assert "`messages[1].thinking` says another thing than `messages[1].reasoning`; keep one" in message


@pytest.mark.parametrize("value", [["Hm."], {"text": "Hm."}, 3])
def test_a_thought_is_a_text(value: object) -> None:
    message = refusal(chat(USER, ASSISTANT | {"thinking": value}))
    assert "`messages[1].thinking` is the" in message and "must be a string" in message


@pytest.mark.parametrize("name", ["thinking", "tool_calls", "function_call"])
def test_only_the_assistant_thinks_and_calls(name: str) -> None:
    message = refusal(chat(USER | {name: "Hm."}, ASSISTANT))
    assert f"`messages[0].{name}` belongs to an assistant message only, and this one is of user" in message


def test_texts_of_a_content_are_joined_as_they_stand() -> None:
    parts = [{"type": "text", "text": "Which bird "}, {"type": "text", "text": "is this?", "image_url": None}]
    assert read(chat(USER | {"content": parts}, ASSISTANT)).messages[0].content == "Which bird is this?"
    assert answered(content=["a ", "", "b"]).content == "a b"
    assert answered(content=[{"type": "text", "text": ""}, "b"]).content == "b"
    told = {"role": "tool", "content": [{"type": "text", "text": "High."}]}
    assert read(chat(USER, ASSISTANT, told)).messages[2] == Message("tool", "High.")
    system = {"role": "system", "content": ["Be brief."]}
    assert read(chat(system, USER, ASSISTANT)).messages[0] == Message("system", "Be brief.")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}],
            "[1].type` is 'im",
        ),
        (
            [{"type": "input_audio", "input_audio": {}}],
            "[0].type` is 'input_audio'; only parts of type 'text'",
        ),
        ([{"text": "a"}], "[0].type` is missing"),
        ([{"type": "text"}], "[0].text` is missing"),
        ([{"type": "text", "text": None}], "[0].text` is null"),
        ([{"type": "text", "text": 3}], "[0].text` is the number 3; must be a string"),
        ([{"type": "text", "text": "a", "image": "x"}], "[0].image` is not read"),
        ([3], "[0]` is the number 3; must be a text"),
        (["a\ud800"], "[0]` holds '\\ud800' at character 2"),
        ([], "` is empty: []"),
        ([" ", {"type": "text", "text": ""}], "` is empty: "),
        ({"type": "text", "text": "a"}, "` is the object {'type'"),
    ],
)
def test_a_part_that_is_no_text_is_refused_with_its_place(content: object, expected: str) -> None:
    assert f"field `messages[1].content{expected}" in refusal(chat(USER, ASSISTANT | {"content": content}))


def test_the_developer_is_the_system() -> None:
    developer = {"role": "developer", "content": "Be brief."}
    assert read(chat(developer, USER, ASSISTANT)).messages[0] == Message("system", "Be brief.")
    assert len(read(chat(developer | {"content": ""}, USER, ASSISTANT)).messages) == 2
    system = {"role": "system", "content": "Be kind."}
    assert "only the first message may be one" in refusal(chat(system, developer, USER, ASSISTANT))
    beside = chat(developer, USER, ASSISTANT) | {"system": "Be kind."}
    assert "`system` stands beside the system message `messages[0]`" in refusal(beside)


@pytest.mark.parametrize("weight", [None, 0, 1])
def test_a_weight_of_fine_tuning_records(weight: int | None) -> None:
    assert answered(weight=weight).weight == (1 if weight is None else weight)


def test_what_parquet_fills_in_is_absent(tmp_path: Path) -> None:
    """Each row gets the fields of all rows, filled with nulls."""
    records = [
        chat(
            {"role": "developer", "content": "Be brief."},
            USER,
            ASSISTANT | {"reasoning_content": "Hm.", "weight": 0.0},
        ),
        chat(USER, ASSISTANT),
    ]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    thinks, plain = JsonlSource(str(path))
    assert thinks.messages[2] == Message("assistant", "Hello", weight=0.0, thought="Hm.")
    assert plain.messages == (Message("user", "Hi"), Message("assistant", "Hello"))
    assert thinks.unread == plain.unread == ()
