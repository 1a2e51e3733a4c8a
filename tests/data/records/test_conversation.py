"""A record becomes the conversation it says, or is refused with the place, the field and the value."""

import math
from typing import Any

import numpy as np
import pytest

from im_jax.config import FieldNames
from im_jax.data.records import Conversation, Message, conversation_from_record
from im_jax.errors import DataError

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief."}


def read(record: object, **fields: str) -> Conversation:
    return conversation_from_record(record, "data.jsonl:7", FieldNames(**fields))


def refusal(record: object, **fields: str) -> str:
    with pytest.raises(DataError) as caught:
        read(record, **fields)
    return str(caught.value)


def chat(*messages: object) -> dict[str, Any]:
    return {"messages": list(messages)}


def test_messages_keep_roles_order_weights_and_white_space() -> None:
    turn = {"role": "assistant", "content": " Hello\n", "weight": 0.25, "name": "Ann"}
    conversation = read(chat(SYSTEM, USER, turn, USER))
    assert conversation.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", " Hello\n", 0.25),
        Message("user", "Hi"),
    )
    assert conversation.origin == "data.jsonl:7"
    assert conversation.unread == ("messages[].name",)


def test_prompt_and_completion_with_optional_system() -> None:
    record = {"prompt": "2 + 2", "completion": "4"}
    assert read(record).messages == (Message("user", "2 + 2"), Message("assistant", "4"))
    assert read(record | {"system": "Add."}).messages[0] == Message("system", "Add.")
    for absent in (None, "", "  "):
        assert len(read(record | {"system": absent}).messages) == 2


def test_instruction_keeps_its_input_apart() -> None:
    instruction, output = read({"instruction": "Sort.", "input": "b a", "output": "a b"}).messages
    assert (instruction.content, instruction.input) == ("Sort.", "b a")
    assert instruction.text == "Sort.\n\nb a"
    assert output.text == "a b"
    for record in ({"instruction": "Go", "output": "ok"}, {"instruction": "Go", "input": "", "output": "ok"}):
        assert read(record).messages[0].text == "Go"


def test_id_is_the_records_own_or_else_its_origin() -> None:
    record = {"prompt": "a", "completion": "b"}
    assert read(record | {"id": "x-1"}).id == "x-1"
    assert read(record | {"id": 0}).id == "0"
    for unusable in (None, "", True, 1.5, ["x"]):
        assert read(record | {"id": unusable}).id == "data.jsonl:7"


def test_fields_may_have_other_names() -> None:
    record = {"question": "a", "answer": "b", "persona": "c"}
    messages = read(record, prompt="question", completion="answer", system="persona").messages
    assert [m.content for m in messages] == ["c", "a", "b"]
    assert read({"turns": [USER, ASSISTANT]}, messages="turns").messages[1].content == "Hello"


def test_null_is_an_absent_field() -> None:
    record = {"messages": None, "prompt": "a", "completion": "b", "instruction": None, "output": None}
    assert read(record).messages[0].content == "a"
    assert read(chat(USER | {"weight": None, "input": None}, ASSISTANT)).messages[0] == Message("user", "Hi")


def test_weights_are_float32_values_so_that_every_storage_gives_the_same() -> None:
    weight = read(chat(USER | {"weight": 0.1}, ASSISTANT | {"weight": 0})).messages[0].weight
    assert weight == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (["a"], "is the list ['a']; each record must be a JSON object"),
        (None, "is null; each record"),
        (3, "is the number 3; each record"),
        (chat(), "field `messages` is the list []; must be a list of messages"),
        ({"messages": "Hi"}, "field `messages` is the string 'Hi'"),
        (chat("Hi"), "field `messages[0]` is the string 'Hi'; must be an object"),
        (chat(USER, {"content": "x"}), "field `messages[1].role` is missing; use one of system, user,"),
        (chat(USER, {"role": "gpt", "content": "x"}), "field `messages[1].role` is 'gpt'; use one of"),
        (chat({"role": ["user"], "content": "x"}), "field `messages[0].role` is ['user']"),
        (chat(USER, {"role": "assistant"}), "field `messages[1].content` is missing"),
        (chat(USER, ASSISTANT | {"content": None}), "field `messages[1].content` is null"),
        (chat(USER, ASSISTANT | {"content": ""}), "field `messages[1].content` is empty: ''"),
        (chat(USER | {"content": " \n\t"}, ASSISTANT), "field `messages[0].content` is empty: ' \\n\\t'"),
        (
            chat(USER | {"content": 5}, ASSISTANT),
            "field `messages[0].content` is the number 5; must be a str",
        ),
        (chat(USER | {"content": [{"text": "a"}]}, ASSISTANT), "`messages[0].content[0].type` is missing"),
        (chat(ASSISTANT, USER), "field `messages[0].role` is 'assistant'; the user must speak first"),
        (chat(SYSTEM, ASSISTANT), "field `messages[1].role` is 'assistant'; the user must speak first"),
        (chat(USER, USER), "field `messages` has no assistant message"),
        (chat(SYSTEM), "field `messages` has no assistant message"),
        (chat(USER, SYSTEM, ASSISTANT), "field `messages[1].role` is 'system'; only the first"),
        (chat(SYSTEM, SYSTEM, USER), "field `messages[1].role` is 'system'; only the first"),
        (chat(USER, ASSISTANT | {"input": "x"}), "field `messages[1].input` belongs to a user message"),
        (
            {"prompt": "a"},
            "field `completion` is missing; add it, or set --config.data.fields.completion=NAME",
        ),
        ({"completion": "a"}, "field `prompt` is missing"),
        ({"prompt": "a", "completion": " "}, "field `completion` is empty: ' '"),
        ({"prompt": ["a"], "completion": "b"}, "field `prompt` is the list ['a']; must be a string"),
        ({"prompt": "a", "completion": True}, "field `completion` is the boolean True"),
        ({"prompt": "a", "completion": "b", "system": 1}, "field `system` is the number 1"),
        ({"instruction": "a", "output": "b", "input": {}}, "field `input` is the object {}"),
        ({"instruction": "", "output": "b"}, "field `instruction` is empty"),
    ],
)
def test_malformed_records_are_refused_by_field_and_value(record: object, expected: str) -> None:
    message = refusal(record)
    assert message.startswith("data.jsonl:7: ")
    assert expected in message


@pytest.mark.parametrize("weight", [-1, -0.5, math.nan, math.inf, 10**400, 1e39, "1", True, [1]])
def test_a_weight_must_be_a_finite_number_not_below_zero(weight: object) -> None:
    message = refusal(chat(USER, ASSISTANT | {"weight": weight}))
    assert "field `messages[1].weight` is the" in message
    assert "must be a finite number >= 0" in message


@pytest.mark.parametrize(
    ("record", "where"),
    [
        (
            chat(USER | {"content": "ab\ud800"}, ASSISTANT),
            "`messages[0].content` holds '\\ud800' at character 3",
        ),
        ({"prompt": "a", "completion": "\udc00"}, "`completion` holds '\\udc00' at character 1"),
        ({"prompt": "a", "completion": "b", "id": "\ud800"}, "`id` holds '\\ud800'"),
    ],
)
def test_half_a_surrogate_pair_is_refused(record: object, where: str) -> None:
    message = refusal(record)
    assert where in message
    assert "cannot be encoded as UTF-8" in message
    message.encode()  # so the message itself can be printed


def test_an_unknown_format_names_the_fields_found_and_the_likely_settings() -> None:
    message = refusal({"question": "a", "Answer": "b", "n": 1})
    assert "fields found are: 'question', 'Answer', 'n'" in message
    assert "--config.data.fields.prompt=question --config.data.fields.completion=Answer" in message
    assert "--config.data.fields.messages=dialogue" in refusal({"dialogue": []})
    assert "--config.data.fields.prompt=NAME" in refusal({"x": 1})
    assert "found are: none" in refusal({})


def test_a_missing_field_suggests_the_likely_name() -> None:
    message = refusal({"instruction": "a", "context": "", "target": "b"})
    assert "field `output` is missing" in message
    assert "--config.data.fields.output=target" in message


def test_two_formats_in_one_record_are_not_chosen_between() -> None:
    record = chat(USER, ASSISTANT) | {"prompt": "a", "completion": "b"}
    message = refusal(record)
    assert "has both `messages` and `prompt/completion`" in message
    assert "--config.data.fields.messages=" in message
    assert read(record, messages="").messages[0].content == "a"


def test_long_values_are_shortened_in_messages() -> None:
    assert len(refusal(chat({"role": "x" * 10_000}))) < 200
