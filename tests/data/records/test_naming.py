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


def test_a_prompt_beside_messages_is_read_if_it_is_the_first_question() -> None:
    """As No Robots and UltraChat have it."""
    turns = [{"role": role, "content": text} for role, text in (("system", "Be brief."), *PAIR)]
    assert read({"prompt": "Hi\n", "prompt_id": None, "messages": turns}).unread == ()
    assert read({"prompt": "Ho", "messages": turns}).unread == ("prompt",)
    assert read({"prompt": "Be brief.", "messages": turns}).unread == ("prompt",)
    assert read({"prompt": ["Hi"], "messages": turns}).unread == ("prompt",)
    assert read({"question": "Hi", "messages": turns}, prompt="question").unread == ()
    with pytest.raises(DataError, match="has both `messages` and `prompt/completion`"):
        read({"prompt": "Hi", "completion": "Hello.", "messages": turns})


def test_prompt_and_completion_of_messages_are_one_conversation() -> None:
    """As TRL has it."""
    first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi", "name": "Ann"}]
    rest = [{"from": "gpt", "value": "Hello.", "weight": 0.5}]
    record: dict[str, Any] = {"prompt": first, "completion": rest, "tools": [{"name": "tide"}]}
    assert said(record) == [("system", "Be brief."), *PAIR]
    assert read(record).messages[2].weight == 0.5 and read(record).tools == ('{"name": "tide"}',)
    assert read(record).unread == ("prompt[].name",)
    assert said({"query": first, "completion": rest}, prompt="query") == [("system", "Be brief."), *PAIR]
    assert said(record | {"prompt": first[1:], "system": "Be kind."})[0] == ("system", "Be kind.")


@pytest.mark.parametrize(
    ("prompt", "completion", "message"),
    [
        ([{"role": "user", "content": "Hi"}], "Hello.", "`prompt` is the list"),
        ("Hi", [{"role": "assistant", "content": "Hello."}], "`completion` is the list"),
        (["Hi"], ["Hello."], "`prompt` is the list ['Hi']; must be a string"),
        (["Hi", "Ho", "Hi"], [{"role": "assistant", "content": "a"}], "`prompt` is the list ['Hi', "),
        (
            [],
            [{"role": "assistant", "content": "Hello."}],
            "`prompt` is the list []; must be a string",
        ),
        ([{"role": "user", "content": "Hi"}], [], "`prompt` is the list"),
        (
            [{"role": "user", "content": " "}],
            [{"role": "assistant", "content": "a"}],
            "`prompt[0].content` is em",
        ),
        (
            [{"role": "user", "content": "Hi"}],
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
            "`completion[0].role` is 'user'; a completion begins with what the assistant says",
        ),
        (
            [{"role": "user", "content": "Hi"}],
            [{"role": "assistant", "content": "a"}, {"role": "system", "content": "b"}],
            "`completion[1].role` is 'system'; only the first",
        ),
    ],
)
def test_prompt_and_completion_of_other_kinds_are_refused(
    prompt: object, completion: object, message: str
) -> None:
    with pytest.raises(DataError) as raised:
        read({"prompt": prompt, "completion": completion})
    assert f"data.jsonl:7: field {message}" in str(raised.value)


def test_turns_that_may_all_be_the_users_are_refused() -> None:
    """As of MT-Bench."""
    record = {
        "question_id": 81,
        "category": "writing",
        "turns": ["Write a poem.", "Shorten it."],
        "reference": [],
    }
    with pytest.raises(DataError, match="field `turns` is a list of texts, which may all be the user's"):
        read(record)
    assert [role for role, _ in said(record, messages="turns")] == ["user", "assistant"]
