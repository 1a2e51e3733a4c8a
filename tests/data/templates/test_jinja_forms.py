"""The built-in templates written as Jinja: other readers get the very text that training had."""

from typing import Any

import pytest

from im_jax.config import TEMPLATES
from im_jax.data.encoding import encode_prompt
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.stops import stop_sequences
from im_jax.data.templates import make_template
from im_jax.data.templates.built_in import Boundaries, BuiltInTemplate
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.templates.jinja_forms import jinja_form
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.errors import DataError
from tests.data.templates.conversations import (
    SYSTEM,
    TOOL,
    answer,
    calling,
    conversation,
    thinking,
    told,
    user,
)

TOKENIZER = ByteTokenizer()
PADDED = conversation(Message("user", " \n Quoted </s> '{{ x }}' \\ \" \n"), Message("assistant", "\n 4 \n"))
CHATS = {
    "one turn": conversation(user(1), answer(1)),
    "turns": conversation(user(1), answer(1), user(2), answer(2), user(3), answer(3)),
    "system": conversation(SYSTEM, user(1), answer(1), user(2), answer(2)),
    "white space": PADDED,
}
TOOL_CHATS = {
    "tools": conversation(SYSTEM, user(1), calling(1), told(1), answer(1), tools=(TOOL, TOOL)),
    "tools without system": conversation(
        user(1), calling(1, 2), told(1), told(2), thinking(1), tools=(TOOL,)
    ),
    "thoughts": conversation(user(1), thinking(1), user(2), thinking(2)),
}


def built_in(name: str) -> BuiltInTemplate:
    template = make_template(name, TOKENIZER)
    assert isinstance(template, BuiltInTemplate)
    return template


def as_jinja(name: str, *, with_bos: bool = False) -> JinjaTemplate:
    """With no special tokens of its own: the source must bring them."""
    return JinjaTemplate(f"{name}.jinja", jinja_form(built_in(name), with_bos=with_bos), {})


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_text_and_prompt_are_those_of_the_built_in(name: str, chat: str) -> None:
    example, form = CHATS[chat], as_jinja(name)
    assert form.render(example).text == built_in(name).render(example).text
    asked = example.messages[:-1]
    assert form.prompt(asked) == built_in(name).prompt(asked)


@pytest.mark.parametrize("chat", TOOL_CHATS)
def test_chatml_writes_tools_calls_and_thoughts(chat: str) -> None:
    example, form = TOOL_CHATS[chat], as_jinja("chatml")
    assert form.render(example).text == built_in("chatml").render(example).text
    asked = example.messages[:-1]
    assert form.prompt(asked, example.tools) == built_in("chatml").prompt(asked, example.tools)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_ends_an_answer_is_the_same(name: str) -> None:
    assert stop_sequences(as_jinja(name), TOKENIZER) == stop_sequences(built_in(name), TOKENIZER)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_bos_that_the_tokenizer_added_stands_in_the_text(name: str) -> None:
    asked = CHATS["system"].messages[:-1]
    tokens = encode_prompt(asked, built_in(name), TOKENIZER)
    text = as_jinja(name, with_bos=True).prompt(asked)
    assert text.startswith("<s>") and not text.startswith("<s><s>")
    assert TOKENIZER.encode(text).ids.tolist() == tokens.tolist()


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"chatml"}))
def test_what_a_template_cannot_write_is_refused(name: str) -> None:
    for example in (TOOL_CHATS["tools"], conversation(user(1), told(1), answer(1))):
        with pytest.raises(DataError, match="this template writes no"):
            as_jinja(name).render(example)


def test_alpaca_gives_the_input_its_section() -> None:
    example = conversation(Message("user", "Add.", input="2, 2"), answer(1))
    assert render(jinja_form(built_in("alpaca"), with_bos=False), example) == (
        built_in("alpaca").render(example).text
    )


def test_texts_of_special_tokens_are_written_as_they_are() -> None:
    marks = Boundaries("<\"b\\n'>", "\N{FULLWIDTH LESS-THAN SIGN}end\n\N{GRINNING FACE}>")
    template = BuiltInTemplate("llama2", marks)
    source = jinja_form(template, with_bos=True)
    assert render(source, CHATS["system"]) == template.render(CHATS["system"]).text


@pytest.mark.parity
@pytest.mark.parametrize("name", TEMPLATES)
def test_transformers_writes_the_same(name: str) -> None:
    for example in {**CHATS, **(TOOL_CHATS if name == "chatml" else {})}.values():
        assert render(jinja_form(built_in(name), with_bos=False), example) == (
            built_in(name).render(example).text
        )


def render(source: str, example: Conversation) -> str:
    """As the transformers library renders it."""
    peers = pytest.importorskip("transformers.utils.chat_template_utils", reason="needs the extra `parity`")
    import json

    messages: list[dict[str, Any]] = []
    for message in example.messages:
        given: dict[str, Any] = {"role": message.role, "content": message.content}
        given |= {"input": message.input} if message.input else {}
        given |= {"reasoning_content": message.thought} if message.thought else {}
        if message.tool_calls:
            given["tool_calls"] = [
                {"type": "function", "function": {"name": c.name, "arguments": json.loads(c.arguments)}}
                for c in message.tool_calls
            ]
        messages.append(given)
    tools = [json.loads(tool) for tool in example.tools] or None
    (text,), _ = peers.render_jinja_template([messages], tools=tools, chat_template=source)
    return str(text)
