"""No text and no word about loss is lost in silence: it is read, refused by name, or counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import Config, DataConfig, EvalConfig, FieldNames
from im_jax.data.jsonl import JsonlSource
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.records.conversation import Message
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError
from im_jax.losses.policy import policy_weights
from tests.data.records.test_conversation import ASSISTANT, SYSTEM, USER, chat, read, refusal

PAIR = {"prompt": "a", "completion": "b"}


def weights(**marks: Any) -> list[float]:
    return [message.weight for message in read(chat(USER, ASSISTANT | marks)).messages]


@pytest.mark.parametrize("flag", ["train", "training", "trainable", "loss", "loss_mask", "compute_loss"])
@pytest.mark.parametrize(("value", "weight"), [(False, 0), (0, 0), (0.0, 0), (True, 1), (1, 1), (None, 1)])
def test_a_flag_is_a_weight_of_one_or_zero(flag: str, value: object, weight: float) -> None:
    assert weights(**{flag: value}) == [1, weight]
    assert read(chat(USER, ASSISTANT | {flag: value})).unread == ()


def test_a_flag_agrees_with_the_weight_or_is_refused() -> None:
    assert weights(weight=0.5, train=True) == [1, 0.5]
    assert weights(weight=0, train=False, loss_mask=0) == [1, 0]
    message = refusal(chat(USER, ASSISTANT | {"weight": 1, "train": False}))
    assert "`messages[1].train` is the boolean False, but `weight` says otherwise; keep one" in message
    assert "but `weight` says" in refusal(chat(USER, ASSISTANT | {"weight": 0, "loss": True}))
    assert "but `loss_mask` says" in refusal(chat(USER, ASSISTANT | {"train": True, "loss_mask": 0}))


@pytest.mark.parametrize("value", [2, -1, 0.5, "false", [0, 1], {}])
def test_a_flag_that_is_neither_yes_nor_no_is_refused(value: object) -> None:
    assert "must be true, false, 1 or 0" in refusal(chat(USER, ASSISTANT | {"loss": value}))


@pytest.mark.parametrize("name", ["mask", "masked", "ignore", "no_loss", "loss_weight", "train_detail"])
def test_what_decides_loss_in_an_unclear_sense_is_refused_by_name(name: str) -> None:
    message = refusal(chat(USER, ASSISTANT | {name: 0}))
    assert f"`messages[1].{name}` is not read, and would decide loss; write it as `weight`" in message


@pytest.mark.parametrize("record", [PAIR, chat(USER, ASSISTANT)])
def test_a_mark_on_the_whole_record_is_refused_where_it_would_change_something(
    record: dict[str, Any],
) -> None:
    assert "`train` is the boolean False, and is not read for a whole record" in refusal(
        record | {"train": False}
    )
    assert "`weight` is the number 0.5" in refusal(record | {"weight": 0.5})
    assert "`loss_mask` decides loss token by token" in refusal(record | {"loss_mask": [0, 1]})
    assert read(record | {"train": True, "weight": 1, "loss": 2.31}).unread == ()


def test_a_field_is_read_as_what_its_name_is_set_to() -> None:
    assert read({"prompt": "a", "loss": "b"}, completion="loss").messages[1].content == "b"
    assert read({"prompt": "a", "tools": "b"}, completion="tools").messages[1].content == "b"


def test_system_beside_messages_is_the_system_message() -> None:
    record = chat(USER, ASSISTANT) | {"system": "Be terse."}
    assert read(record).messages[0] == Message("system", "Be terse.")
    assert read(record | {"system": " "}).messages[0].role == "user"
    assert read(chat(USER, ASSISTANT) | {"persona": "x"}, system="persona").messages[0].content == "x"
    message = refusal(chat(SYSTEM, USER, ASSISTANT) | {"system": "Be terse."})
    assert "`system` stands beside the system message `messages[0]`; keep one of them" in message


@pytest.mark.parametrize("empty", ["", " \n", None, []])
def test_an_empty_system_message_is_none_as_an_empty_field_is(empty: object) -> None:
    nothing = {"role": "system", "content": empty}
    assert [m.role for m in read(chat(nothing, USER, ASSISTANT)).messages] == ["user", "assistant"]
    assert [m.role for m in read(chat(USER, nothing, ASSISTANT)).messages] == ["user", "assistant"]
    both = chat(nothing, USER, ASSISTANT) | {"system": "Be terse."}
    assert read(both).messages[0].content == "Be terse."
    assert "the user must speak first" in refusal(chat(nothing, ASSISTANT))


def test_a_system_message_must_have_content() -> None:
    assert "`messages[0].content` is missing" in refusal(chat({"role": "system"}, USER, ASSISTANT))


@pytest.mark.parametrize("name", ["functions", "function_calls", "refusal", "images", "audio"])
def test_what_an_answer_says_beside_its_content_is_refused_by_name(name: str) -> None:
    message = refusal(chat(USER, ASSISTANT | {name: [{"id": "c1"}]}))
    assert f"`messages[1].{name}` is not read, and the answer would be learned without it" in message
    for nothing in (None, "", " ", [], {}):
        assert len(read(chat(USER, ASSISTANT | {name: nothing})).messages) == 2


@pytest.mark.parametrize("name", ["tool_calls", "function_call", "reasoning_content", "images"])
@pytest.mark.parametrize("record", [PAIR, chat(USER, ASSISTANT)])
def test_calls_thoughts_and_images_of_a_record_are_refused_by_name(name: str, record: dict[str, Any]) -> None:
    assert f"field `{name}` is not read" in refusal(record | {name: [{"type": "function"}]})
    assert read(record | {name: []}).unread == ()


def test_null_is_said_to_be_null() -> None:
    assert "`completion` is null; give it some text" in refusal({"prompt": "a", "completion": None})
    assert "`prompt` is null" in refusal({"prompt": None, "completion": None})
    assert "`messages` is null" in refusal({"messages": None, "id": 3})
    assert "`answer` is null" in refusal({"prompt": "a", "answer": None}, completion="answer")


def test_the_context_of_an_instruction_is_found_by_the_advice() -> None:
    record = {"instruction": "When?", "context": "In 1932.", "target": "1932", "category": "closed_qa"}
    message = refusal(record)
    assert "set --config.data.fields.output=target --config.data.fields.input=context;" in message
    assert read(record, output="target").unread == ("context", "category")
    assert read(record, output="target", input="context").messages[0].input == "In 1932."
    assert "--config.data.fields.input" not in refusal({"instruction": "a", "context": "", "target": "b"})


def prepared(path: Path, records: list[Any], **data: Any) -> Prepared:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    config = Config(data=DataConfig(source="jsonl", path=str(path), **data), eval=EvalConfig(num_examples=0))
    return prepare(config, make_tokenizer("bytes"), policy_weights("it"))


def test_text_that_nothing_reads_is_named_with_its_number_of_examples(tmp_path: Path) -> None:
    records = [
        PAIR | {"context": "lost", "score": 3, "empty": "", "deep": {"a": [1, {"b": "text"}]}},
        PAIR | {"context": "lost too", "numbers": [1, 2]},
        chat(USER | {"name": "Ann", "supervised": False}, ASSISTANT),
    ]
    report = prepared(tmp_path / "a.jsonl", records).report
    expected = {"context": 2, "deep": 1, "messages[].name": 1, "messages[].supervised": 1}
    assert report.unread == report.as_dict()["unread"] == expected
    assert "text that nothing reads: context in 2, deep in 1, messages[].name in 1" in report.summary("data")
    assert "nothing reads" not in prepared(tmp_path / "b.jsonl", [PAIR]).report.summary("data")


def test_a_name_that_no_record_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(PAIR) + "\n" + json.dumps(PAIR | {"persona": "x"}) + "\n")
    with pytest.raises(
        DataError, match=r"data\.fields\.system=role: no record of .*a\.jsonl has it; fields found: "
    ):
        JsonlSource(path, FieldNames(system="role"))
    assert len(JsonlSource(path, FieldNames(system="persona"))) == 2
    assert len(JsonlSource(path, FieldNames(messages=""))) == 2


def test_marks_on_messages_reach_the_loss(tmp_path: Path) -> None:
    marked = chat(USER, ASSISTANT | {"train": False}, USER, ASSISTANT)
    data = prepared(tmp_path / "a.jsonl", [marked, chat(USER, ASSISTANT | {"loss": 0})])
    assert set(data.train[0].weights) == {0.0, 1.0}
    assert (data.report.trained, data.report.without_target) == (1, 1)
