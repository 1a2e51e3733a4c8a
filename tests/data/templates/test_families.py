"""Families of chat templates, token by token, beside an oracle that knows nothing of how they are attributed.

Contents are made of words that occur nowhere else, so their characters are found by looking; what the model writes is
found by the published format (`families.Family.written`).
"""

import dataclasses
import datetime
import importlib.resources
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
import tokenizers

from im_jax.data.encoding import encode_conversation
from im_jax.data.records.conversation import Conversation, Message, ToolCall
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import DataError
from im_jax.losses.policy import policy_weights
from tests.data.synthetic import sentencepiece_model
from tests.data.templates.families import FAMILIES, GLM_4_UNSTOPPED, Family

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
NOW = datetime.datetime(2026, 2, 3, 4, 5)
TOOL = json.dumps(
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
CALL = ToolCall("tide", '{"port": "qhull0 qbay"}', as_text=False)


def conversation(*messages: Message, tools: tuple[str, ...] = ()) -> Conversation:
    return Conversation("id", messages, "data.jsonl:7", (), tools)


def user(number: int) -> Message:
    return Message("user", f"quser{number} qasks \u00e9{number}?")


def answer(number: int, **parts: object) -> Message:
    return Message("assistant", f"qanswer{number} qsays {number}.", **parts)  # type: ignore[arg-type]


def inside(number: int) -> Message:
    return Message(
        "assistant", f"<think>\nqthought{number} qmuses\n</think>\n\nqanswer{number} qsays {number}."
    )


SYSTEM = Message("system", "qsystem qrules.")
CONVERSATIONS = {
    "": {
        "one turn": conversation(user(1), answer(1)),
        "two turns": conversation(user(1), answer(1), user(2), answer(2)),
    },
    "system": {"system": conversation(SYSTEM, user(1), answer(1), user(2), answer(2))},
    "thoughts": {
        "a thought": conversation(user(1), answer(1, thought="qthought1 qmuses")),
        "thoughts": conversation(
            user(1), answer(1, thought="qthought1 qmuses"), user(2), answer(2, thought="qthought2 qmuses")
        ),
        "one with a thought": conversation(
            user(1), answer(1), user(2), answer(2, thought="qthought2 qmuses")
        ),
    },
    "inside": {
        "a thought inside": conversation(user(1), inside(1)),
        "thoughts inside": conversation(SYSTEM, user(1), inside(1), user(2), inside(2)),
    },
    "tools": {
        "a call": conversation(
            SYSTEM,
            user(1),
            Message("assistant", "", tool_calls=(CALL,)),
            Message("tool", "qtool1 qtells", name="tide"),
            answer(1),
            tools=(TOOL,),
        ),
        "a call after a turn": conversation(
            user(1),
            answer(1),
            user(2),
            Message("assistant", "", tool_calls=(CALL,)),
            Message("tool", "qtool1 qtells", name="tide"),
            answer(2),
            tools=(TOOL,),
        ),
    },
}
CASES = [
    pytest.param(
        family,
        dataclasses.replace(example, tools=()) if "unlisted" in family.has else example,
        id=f"{name}, {case}",
    )
    for name, family in FAMILIES.items()
    for needs, examples in CONVERSATIONS.items()
    if needs in family.has or not needs
    for case, example in examples.items()
]


def template(source: str) -> JinjaTemplate:
    return JinjaTemplate("family", source, SPECIAL, NOW, ["<|observation|>", "<|call|>"])


@pytest.fixture(scope="module", params=["tokenizer.json", "SentencePiece"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("families")
    if request.param == "SentencePiece":
        return make_tokenizer(str(sentencepiece_model(folder)))
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    texts = [text for family in FAMILIES.values() for text in (family.source, family.answer)]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[
            "<s>",
            "</s>",
            "<|im_start|>",
            "<|im_end|>",
            "<|end|>",
            "<|eot_id|>",
            "<end_of_turn>",
        ],
    )
    made.train_from_iterator(texts, trainer)
    made.save(str(folder / "tokenizer.json"))
    return make_tokenizer(str(folder))


def spots(text: str, words: str) -> Iterator[tuple[int, int]]:
    """Where these words of ours, which no template has, stand in a text."""
    return (found.span() for found in re.finditer(words, text))


def trained_characters(family: Family, text: str, policy: str) -> np.ndarray:
    """Which characters carry loss, by the format and the words alone."""
    trained = np.zeros(len(text), bool)
    answers = family.written(text)
    for start, end in answers[-1:] if policy == "last_turn" else answers:
        trained[start:end] = True
    if policy == "im":
        for start, end in spots(text, r"quser\d qasks .\d\?|qsystem qrules\.|qtool\d qtells"):
            trained[start:end] = True
    return trained


@pytest.mark.parametrize(("family", "example"), CASES)
def test_each_token_carries_loss_as_the_format_says(
    family: Family, example: Conversation, tokenizer: Tokenizer
) -> None:
    made = template(family.source)
    text = made.render(example).text
    encoding = tokenizer.encode(text)
    encoded = encode_conversation(example, made, tokenizer, max_length=10_000)
    np.testing.assert_array_equal(encoded.tokens, encoding.ids)
    assert len(family.written(text)) == sum(m.role == "assistant" for m in example.messages)
    for policy in ("it", "im", "last_turn"):
        characters = trained_characters(family, text, policy)
        expected = [
            bool(characters[start : max(end, start + 1)].any())
            for start, end in zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True)
        ]
        assert (policy_weights(policy)[encoded.classes] > 0).tolist() == expected, policy


@pytest.mark.parametrize(("family", "example"), CASES)
def test_parts_have_the_class_of_their_words(family: Family, example: Conversation) -> None:
    rendered = template(family.source).render(example)
    assert "".join(rendered.text[s.start : s.end] for s in rendered.spans) == rendered.text
    labels = np.repeat(
        [s.token_class.label for s in rendered.spans], [s.end - s.start for s in rendered.spans]
    )
    last = max(i for i, m in enumerate(example.messages) if m.role == "assistant")
    for number, message in enumerate(example.messages):
        prefix = "last_" if number == last else ""
        for words, label in (
            (
                message.content.split("</think>")[-1].strip(),
                message.role.replace("assistant", f"{prefix}assistant"),
            ),
            (message.thought or _thought_inside(message), f"{prefix}thought"),
            *(("qhull0 qbay", f"{prefix}tool_call") for _ in message.tool_calls),
        ):
            found = list(spots(rendered.text, re.escape(words))) if words else []
            assert len(found) == 1 or not words or (label == "thought" and not found)
            for start, end in found:
                assert set(labels[start:end].tolist()) == {label}


def _thought_inside(message: Message) -> str:
    found = re.search(r"<think>\n(.*)\n</think>", message.content)
    return found[1] if found else ""


def test_left_out_thoughts_of_earlier_turns_are_told() -> None:
    (note,) = (
        note
        for note in template(FAMILIES["Qwen3"].source).render(CONVERSATIONS["thoughts"]["thoughts"]).notes
        if "leaves out" in note
    )
    assert note == "the chat template leaves out thoughts of earlier turns"


def test_what_the_generation_prompt_has_beyond_training_texts_is_told() -> None:
    rendered = template(FAMILIES["DeepSeek-R1"].source).render(CONVERSATIONS[""]["one turn"])
    assert rendered.notes == ("the generation prompt goes on with '<think>\\n', which training texts lack",)


@pytest.mark.parametrize(
    ("name", "case", "reason"),
    [
        (
            "DeepSeek-R1",
            ("inside", "a thought inside"),
            "leaves out the thought of an assistant message, message 2",
        ),
        ("Gemma 2", ("system", "system"), "System role not supported"),
        ("Zephyr", ("tools", "a call"), "leaves out the name of a tool of an assistant message, message 3"),
        ("Phi-3", ("tools", "a call"), "leaves out the name of a tool"),
        ("DeepSeek-R1", ("tools", "a call"), "leaves out the list of tools; remove it from the data"),
    ],
)
def test_what_a_family_cannot_write_is_refused(name: str, case: tuple[str, str], reason: str) -> None:
    with pytest.raises(DataError, match=f"data.jsonl:7: the chat template family .*{reason}"):
        template(FAMILIES[name].source).render(CONVERSATIONS[case[0]][case[1]])


def test_answers_that_only_the_next_message_ends_are_refused() -> None:
    with pytest.raises(DataError, match="writes no stop after message 2"):
        template(GLM_4_UNSTOPPED)


def _chat(example: Conversation) -> list[dict[str, object]]:
    """The messages as transformers takes them."""
    chat = []
    for number, message in enumerate(example.messages):
        given: dict[str, object] = {"role": message.role, "content": message.content}
        if message.thought:
            given |= {"reasoning_content": message.thought, "thinking": message.thought}
        if message.tool_calls:
            function = {"name": CALL.name, "arguments": json.loads(CALL.arguments)}
            given["tool_calls"] = [{"id": "000000001", "type": "function", "function": function}]
        if message.role == "tool":
            given |= {"name": message.name, "tool_call_id": "000000001"}
        chat.append(given)
        assert number < len(example.messages)
    return chat


@pytest.mark.parity
@pytest.mark.parametrize(("family", "example"), CASES)
def test_text_is_that_of_transformers(
    family: Family, example: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    from transformers.utils import chat_template_utils

    class Then(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return NOW

    monkeypatch.setattr(chat_template_utils, "datetime", Then)
    peer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), **SPECIAL
    )
    peer.chat_template = family.source
    tools = [json.loads(tool) for tool in example.tools] or None
    chat = _chat(example)
    if family is FAMILIES["DeepSeek-R1"] and any(m.tool_calls for m in example.messages):
        chat[-3]["tool_calls"][0]["function"]["arguments"] = CALL.arguments  # type: ignore[index]
    expected = peer.apply_chat_template(chat, tools=tools, tokenize=False)
    assert template(family.source).render(example).text == expected
    prompt = peer.apply_chat_template(chat[:-1], tools=tools, tokenize=False, add_generation_prompt=True)
    assert template(family.source).prompt(example.messages[:-1], example.tools) == prompt


@pytest.mark.parametrize(
    ("family", "example"),
    [case for case in CASES if case.values[0].trl],  # type: ignore[union-attr]
)
def test_templates_that_trl_carries_agree_too(
    family: Family, example: Conversation, tokenizer: Tokenizer
) -> None:
    pytest.importorskip("trl", reason="needs the extra `peers`")
    folder = importlib.resources.files("trl") / "chat_templates"
    source = (folder / f"{family.trl}.jinja").read_text(encoding="utf-8")
    if family is FAMILIES["DeepSeek-R1"] and any(m.tool_calls for m in example.messages):
        pytest.skip("TRL's template ends no single call")
    theirs = Family(source, family.answer, family.has)
    test_each_token_carries_loss_as_the_format_says(theirs, example, tokenizer)
