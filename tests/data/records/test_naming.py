"""Records of public sets read as they are published."""

from typing import Any

import pytest

from im_jax.config import FieldNames
from im_jax.data.records import Conversation, conversation_from_record
from im_jax.errors import DataError

PAIR = [("user", "Hi"), ("assistant", "Hello.")]


def read(record: dict[str, Any], **names: str) -> Conversation:
    return conversation_from_record(record, "data.jsonl:7", FieldNames(**names))


def said(record: dict[str, Any], **names: str) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in read(record, **names).messages]


@pytest.mark.parametrize("name", ["conversations", "messages"])
@pytest.mark.parametrize("user", ["human", "user"])
@pytest.mark.parametrize("assistant", ["gpt", "chatgpt", "bard", "bing", "assistant"])
def test_turns_of_from_and_value(name: str, user: str, assistant: str) -> None:
    turns = [
        {"from": user, "value": "Hi", "weight": None, "role": None},
        {"from": assistant, "value": "Hello.", "weight": 0.5},
    ]
    conversation = read({name: turns, "source": None})
    assert [(m.role, m.content) for m in conversation.messages] == PAIR
    assert conversation.messages[1].weight == 0.5 and conversation.unread == ()


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": ["Hi", "Hello."]},
        {"prompt": "Hi", "response": "Hello."},
        {"question": "Hi", "answer": "Hello."},
        {"question": "Hi", "response": "Hello.", "answer": None},
        {"instruction": "Hi", "response": "Hello.", "context": ""},
        {"prompt": "Hi", "completion": None, "response": "Hello."},
    ],
)
def test_other_names(record: dict[str, Any]) -> None:
    assert said(record) == PAIR
    assert said(record | {"system_prompt": "Be brief."}) == [("system", "Be brief."), *PAIR]
    assert said(record | {"system_prompt": None}) == PAIR
    assert said(record | {"system_prompt": "No.", "system": "Yes."}) == [("system", "Yes."), *PAIR]


def test_context_is_the_input_of_an_instruction_with_a_response() -> None:
    record = {"instruction": "When?", "context": "In 1932.", "response": "1932", "category": "qa"}
    assert read(record).messages[0].input == "In 1932." and read(record).unread == ("category",)
    kept = read(record, output="response")
    assert not kept.messages[0].input and kept.unread == ("context", "category")


def test_texts_alternate_over_several_turns() -> None:
    roles = [role for role, _ in said({"conversations": ["a", "b", "c", "d"]})]
    assert roles == ["user", "assistant"] * 2


def test_what_was_read_under_its_own_names_still_is() -> None:
    record = {"prompt": "a", "completion": "b", "question": "c", "answer": "d", "system_prompt": "e"}
    assert said(record) == [("user", "a"), ("assistant", "b")]
    assert read(record).unread == ("question", "answer", "system_prompt")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"prompt": "a", "response": "b", "instruction": "c"},
            "has both `prompt/response` and `instruction/response`; choose one, for example "
            "--config.data.fields.prompt=prompt --config.data.fields.completion=response",
        ),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "is that of a tool, but no call"),
        ({"conversations": [{"from": "martian", "value": "x"}]}, "is 'martian'; use one of"),
        ({"conversations": [{"from": ["x"], "value": "x"}]}, "use one of"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "the user must speak first"),
        ({"conversations": [{"from": "human", "value": " "}]}, "`conversations[0].content` is empty"),
        ({"conversations": ["a", 3]}, "`conversations[0]` is the string 'a'; must be an object"),
        ({"conversations": ["a", ""]}, "`conversations[1].content` is empty"),
        ({"conversations": []}, "must be a list of messages"),
    ],
)
def test_what_is_no_conversation_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        read(record)
    assert message in str(raised.value) and str(raised.value).startswith("data.jsonl:7: ")


def test_the_advice_on_two_formats_chooses_one() -> None:
    record = {"prompt": "a", "response": "b", "instruction": "c"}
    assert said(record, prompt="prompt", completion="response") == [("user", "a"), ("assistant", "b")]
