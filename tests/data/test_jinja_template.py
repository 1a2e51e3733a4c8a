"""Jinja chat templates: attributed exactly as they render, or refused with the reason."""

import json
import pathlib
from typing import Any

import pytest

from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates import Rendered, make_template
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.errors import DataError

TOKENIZER = ByteTokenizer()

CHATML_WITH_DEFAULT_SYSTEM = """
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
LLAMA3 = """
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
"""
MISTRAL = """
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] + '\\n\\n' %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set system = '' %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in turns %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate user/assistant') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' + (system if loop.first else '') + message['content'].strip() + ' [/INST]' }}
    {%- else %}
        {{- ' ' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}
"""
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'assistant' %}
<|assistant|>
{% generation %}
{{ message['content'] + eos_token }}
{% endgeneration %}
{% else %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
<|assistant|>
{% endif %}
{% endfor %}"""
GOOD = {"chatml": CHATML_WITH_DEFAULT_SYSTEM, "llama3": LLAMA3, "mistral": MISTRAL, "zephyr": ZEPHYR}

TURN = "{{ '<' + message.role + '>' + %s + '</s>' }}"
EACH = "{%% for message in messages %%}%s{%% endfor %%}"


def written(content: str) -> str:
    return EACH % (TURN % content)


def conversation(*turns: tuple[str, str]) -> Conversation:
    return Conversation("id", tuple(Message(*turn) for turn in turns), "data.jsonl:7")


ONE_TURN = conversation(("user", "2+2?"), ("assistant", "4"))
TWO_TURNS = conversation(
    ("system", "Be brief."), ("user", " 2+2?\n"), ("assistant", "4"), ("user", "4"), ("assistant", "Yes. ")
)
QUOTING = conversation(
    ("user", "4</s> [/INST] <|im_end|>\n<|assistant|>\n{{ eos_token }} \U00100001"), ("assistant", "</s>é\n")
)


def jinja(source: str) -> JinjaTemplate:
    return JinjaTemplate("chat", source, {"bos_token": "<s>", "eos_token": "</s>"})


def parts(rendered: Rendered) -> list[tuple[str, str]]:
    return [(rendered.text[s.start : s.end], s.token_class.label) for s in rendered.spans]


def test_classes_of_every_part() -> None:
    assert parts(jinja(ZEPHYR).render(TWO_TURNS)) == [
        ("<|system|>\n", "first_header"),
        ("Be brief.", "system"),
        ("</s>\n", "separator"),
        ("<|user|>\n", "header"),
        (" 2+2?\n", "user"),
        ("</s>\n", "separator"),
        ("<|assistant|>\n", "header"),
        ("4", "assistant"),
        ("</s>", "stop"),
        ("\n", "stop_separator"),
        ("<|user|>\n", "header"),
        ("4", "user"),
        ("</s>\n", "separator"),
        ("<|assistant|>\n", "header"),
        ("Yes. ", "last_assistant"),
        ("</s>", "last_stop"),
        ("\n", "stop_separator"),
    ]


def test_system_text_inside_the_first_instruction_and_stripped_contents() -> None:
    assert parts(jinja(MISTRAL).render(TWO_TURNS)) == [
        ("<s>", "bos"),
        ("[INST] ", "first_header"),
        ("Be brief.", "system"),
        ("\n\n", "header"),
        ("2+2?", "user"),
        (" [/INST]", "separator"),
        (" 4", "assistant"),
        ("</s>", "stop"),
        ("[INST] ", "header"),
        ("4", "user"),
        (" [/INST]", "separator"),
        (" Yes. ", "last_assistant"),
        ("</s>", "last_stop"),
    ]


def test_a_default_system_prompt_is_template_text() -> None:
    first = parts(jinja(CHATML_WITH_DEFAULT_SYSTEM).render(ONE_TURN))[0]
    assert first == ("<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\n", "first_header")


def test_agrees_with_the_built_in_llama3() -> None:
    built_in = make_template("llama3", TOKENIZER)
    for example in (ONE_TURN, TWO_TURNS, QUOTING):
        assert jinja(LLAMA3).render(example) == built_in.render(example)
        assert jinja(LLAMA3).prompt(example.messages[:-1]) == built_in.prompt(example.messages[:-1])


@pytest.mark.parametrize("name", GOOD)
def test_contents_that_quote_the_template_or_each_other_stay_contents(name: str) -> None:
    rendered = jinja(GOOD[name]).render(QUOTING)
    contents = [text.strip() for text, label in parts(rendered) if label in ("user", "last_assistant")]
    assert contents == [m.content.strip() for m in QUOTING.messages]
    assert "".join(text for text, _ in parts(rendered)) == rendered.text


@pytest.mark.parametrize("name", GOOD)
def test_prompt_is_where_the_last_answer_begins(name: str) -> None:
    template = jinja(GOOD[name])
    rendered = template.render(TWO_TURNS)
    answer = next(s for s in rendered.spans if s.token_class.label == "last_assistant")
    assert template.prompt(TWO_TURNS.messages[:-1]) == rendered.text[: answer.start]


@pytest.mark.parametrize(
    ("source", "example", "reason"),
    [
        (
            "{% if messages[0].role == 'system' %}{% set messages = messages[1:] %}{% endif %}"
            + written("message.content"),
            TWO_TURNS,
            "data.jsonl:7: .* leaves out the text of a system message, message 1",
        ),
        (
            written("(message.content | upper if loop.index > 2 else message.content)"),
            TWO_TURNS,
            "with the contents: it applies `upper` to the text of message 5; leave this example out",
        ),
        (
            written("('' if 'Yes' in message.content else message.content)"),
            TWO_TURNS,
            "leaves out the text of an assistant message, message 5",
        ),
        (
            "{% if messages[0].content == '2+2?' %}{% set messages = messages | reverse %}{% endif %}"
            + written("message.content"),
            ONE_TURN,
            "writes messages in another order",
        ),
        (
            written("message.content") + "{{ messages[0].content[6:] }}",
            TWO_TURNS,
            "writes 2 times the text of a system message",
        ),
        ("{{ raise_exception('no tools here') if messages | length > 2 }}" + written("message.content"),
         TWO_TURNS, "fails on messages of system, user, assistant, user, assistant: no tools here"),
    ],
    ids=["drops system", "upper case", "hides a content", "reorders some", "quotes again", "raises"],
)  # fmt: skip
def test_a_conversation_that_cannot_be_attributed_is_refused(
    source: str, example: Conversation, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        jinja(source).render(example)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (EACH % "{{ message.role + message.content + '\n' }}", "writes no stop .*; make it write eos_token"),
        (
            "{% for i in range(2) %}{{ '<' + messages[i].role + '>' + messages[i].content + '</s>' }}{% endfor %}",
            r"writes message 2 \(assistant\) outside of its turn in a loop over the messages",
        ),
        (written("message.content + message.content"), "writes 2 times the text of a user message"),
        (EACH.replace("in messages", "in messages | reverse") % (TURN % "message.content"), "another order"),
        ("{% for message in messages %}", "is not valid Jinja: line 1"),
        (written("message.content.missing()"), "fails on messages of user, assistant"),
        (written("message.content.__class__.__mro__"), "fails on messages"),
    ],
    ids=["no stop", "no loop over messages", "twice", "reversed", "syntax", "error", "escape"],
)
def test_a_template_that_never_works_is_refused_when_it_is_made(source: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        jinja(source)


def test_a_stop_only_after_the_last_answer_is_refused() -> None:
    template = jinja(
        EACH % "{{ '<' + message.role + '>' + message.content }}"
        "{{ '</s>' if loop.last or message.role == 'user' }}"
    )  # fmt: skip
    assert template.render(ONE_TURN).text
    with pytest.raises(DataError, match="writes no stop after message 3"):
        template.render(TWO_TURNS)


def write_config(folder: pathlib.Path, **config: Any) -> pathlib.Path:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(config))
    return file


@pytest.mark.parametrize("by_directory", [True, False])
@pytest.mark.parametrize("as_list", [True, False])
def test_reads_a_tokenizer_config(tmp_path: pathlib.Path, by_directory: bool, as_list: bool) -> None:
    template = [{"name": "default", "template": ZEPHYR}] if as_list else ZEPHYR
    file = write_config(tmp_path, chat_template=template, eos_token={"content": "<end>"}, pad_token=None)
    rendered = make_template(str(tmp_path if by_directory else file), TOKENIZER).render(ONE_TURN)
    assert parts(rendered)[-2] == ("<end>", "last_stop")


def test_a_template_file_goes_before_the_configuration(tmp_path: pathlib.Path) -> None:
    write_config(tmp_path, chat_template=ZEPHYR, eos_token="<end>")
    (tmp_path / "chat_template.jinja").write_text(LLAMA3)
    for path in (tmp_path, tmp_path / "chat_template.jinja", tmp_path / "tokenizer_config.json"):
        assert "<|start_header_id|>" in make_template(str(path), TOKENIZER).render(ONE_TURN).text


def test_a_template_file_alone_takes_the_tokens_of_the_tokenizer(tmp_path: pathlib.Path) -> None:
    (tmp_path / "chat.jinja").write_text(MISTRAL)
    template = make_template(str(tmp_path / "chat.jinja"), TOKENIZER)
    assert template.render(ONE_TURN).text == "<s>[INST] 2+2? [/INST] 4</s>"


def test_a_configuration_without_template_is_refused(tmp_path: pathlib.Path) -> None:
    file = write_config(tmp_path, eos_token="</s>")
    with pytest.raises(DataError, match="no default chat_template"):
        make_template(str(file), TOKENIZER)


@pytest.mark.parity
@pytest.mark.parametrize("name", GOOD)
def test_text_equals_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    from tokenizers import Tokenizer, models

    peer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>"
    )
    peer.chat_template = GOOD[name]
    template = jinja(GOOD[name])
    for example in (ONE_TURN, TWO_TURNS, QUOTING):
        chat = [{"role": m.role, "content": m.content} for m in example.messages]
        assert template.render(example).text == peer.apply_chat_template(chat, tokenize=False)
        prompt = peer.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True)
        assert template.prompt(example.messages[:-1]) == prompt
