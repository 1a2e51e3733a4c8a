"""Inputs that were lost, refused or wrong when they were found, from file to classes.

Each is one of a kind, and the kinds have tests of their own: records in `records/`, templates in `templates/`,
tokenizers in `test_added_tokens.py` and `test_named_tokens.py`, runs in `tests/training/test_chat_templates.py`.
"""

import shutil
from pathlib import Path

import pytest

from im_jax.config import FieldNames
from im_jax.data.jsonl import JsonlSource
from im_jax.data.records import Conversation
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError

PLACE = Path(__file__).parents[3] / "shared" / "faults"
HI = ("user", "Hi")


@pytest.fixture
def found() -> Path:
    if not PLACE.is_dir():
        pytest.skip(f"{PLACE} is not there")
    return PLACE


def read(file: Path, **names: str) -> list[Conversation]:
    source = JsonlSource(file, FieldNames(**names))
    return [source[i] for i in range(len(source))]


def classes(example: Conversation, template: str, tokenizer: str = "bytes", date: str = "") -> dict[str, str]:
    """Texts by class; of one class, joined."""
    rendered = make_template(template, make_tokenizer(tokenizer), date).render(example)
    texts: dict[str, str] = {}
    for start, end, token_class, _ in rendered.spans:
        texts[token_class.label] = texts.get(token_class.label, "") + rendered.text[start:end]
    return texts


def test_marks_of_messages_are_weights(found: Path) -> None:
    for example in read(found / "train_false.jsonl"):
        assert [message.weight for message in example.messages] == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "messages", "unread"),
    [
        ("messages_system", [("system", "Be terse."), ("user", "Name a heron."), ("assistant", "Grey heron.")], ()),
        ("dolly_context", [("user", "When did it open?\n\nThe bridge opened in 1932."), ("assistant", "1932")], ("category",)),
        ("sharegpt", [HI, ("assistant", "Hello.")], ()),
        ("empty_system", [HI, ("assistant", "Hello.")], ()),
    ],
)  # fmt: skip
def test_records_are_read_whole(
    found: Path, name: str, messages: list[tuple[str, str]], unread: tuple[str, ...]
) -> None:
    (example,) = read(found / f"{name}.jsonl")
    assert [(message.role, message.text) for message in example.messages] == messages
    assert example.unread == unread


def test_what_cannot_be_read_is_told_with_its_reason(found: Path) -> None:
    with pytest.raises(DataError, match=r"null_completion\.jsonl:1: field `completion` is null"):
        read(found / "null_completion.jsonl")
    with pytest.raises(DataError, match=r"data\.fields\.system=nosuch: no record of .* has it"):
        read(found / "dolly_context.jsonl", system="nosuch")


def test_calls_and_thoughts_are_written_or_refused_by_name(found: Path) -> None:
    calling, thinking = read(found / "tool_calls.jsonl")
    assert classes(calling, "chatml")["last_tool_call"] == 'tide", "arguments": {"port":"Hull"}'
    assert '{"type": "function", "function": {"name": "tide"}}' in classes(calling, "chatml")["first_header"]
    assert classes(thinking, "chatml")["last_thought"] == "Two and two."
    with pytest.raises(DataError, match=r"tool_calls\.jsonl:1: .* tulu cannot write calls of tools"):
        classes(calling, "tulu")
    with pytest.raises(DataError, match=r"tool_calls\.jsonl:2: .* tulu cannot write thoughts"):
        classes(thinking, "tulu")


@pytest.mark.parametrize(
    ("data", "template", "expected"),
    [
        ("think", "think", {"last_thought": "Two and two.", "last_assistant": "<think>\n\n</think>\n\nFour."}),
        ("hi", "trailing_eos", {"last_assistant": "Yo.", "last_stop": "<|end|>", "stop_separator": "\n</s>"}),
        ("two_turns", "last_stop_differs", {"assistant": "Yo.", "stop": "<|end|>", "last_stop": "</s>"}),
        ("hi", "hidden_think", {"last_assistant": "<think>\n\n</think>\n\nYo.", "last_stop": "</s>"}),
        ("hi", "hidden_think_control", {"last_assistant": "Yo.", "last_stop": "</s>"}),
        ("hi", "clock", {"last_assistant": "Yo.", "first_header": "<|system|>Now: 03 Feb 2026 04:05\n<|user|>\n"}),
    ],
)  # fmt: skip
def test_templates_are_attributed(found: Path, data: str, template: str, expected: dict[str, str]) -> None:
    (example,) = read(found / f"{data}.jsonl")
    texts = classes(example, str(found / f"{template}.jinja"), date="2026-02-03T04:05")
    assert texts | expected == texts


def test_added_tokens_beside_a_sentencepiece_model(found: Path, shared_data: Path, tmp_path: Path) -> None:
    for file in (found / "sp_added").iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    shutil.copyfile(shared_data / "mistral_tokenizer" / "tokenizer.model.v1", tmp_path / "tokenizer.model")
    check_chatml(tmp_path, found, start=32001, end=32000)


def test_added_tokens_only_in_a_configuration(found: Path) -> None:
    check_chatml(found / "added_in_config", found, start=257, end=258)


def check_chatml(tokenizer: Path, found: Path, start: int, end: int) -> None:
    (example,) = read(found / "hi.jsonl")
    made = make_tokenizer(str(tokenizer))
    ids = made.encode(make_template(str(tokenizer), made).render(example).text).ids.tolist()
    assert [i for i in ids if i in made.special_ids] == [start, end, start, end]
