"""Built-in chat templates: what they write, and whose text each character is."""

import pytest

from im_jax.config import TEMPLATES
from im_jax.data.records import Conversation, Message, ToolCall
from im_jax.data.templates import Rendered, make_template
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.errors import DataError
from im_jax.token_classes import TokenClass as C

TOKENIZER = ByteTokenizer()
PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n"
)
PREAMBLE_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)


def conversation(*turns: tuple[str, str] | Message) -> Conversation:
    messages = (turn if isinstance(turn, Message) else Message(*turn) for turn in turns)
    return Conversation("id", tuple(messages), "test:1")


ONE_TURN = conversation(("user", "2+2? "), ("assistant", "4"))
TWO_TURNS = conversation(
    ("system", "Be brief.\n"), ("user", "2+2?"), ("assistant", " 4"), ("user", "Sure?"), ("assistant", "Yes.")
)


def parts(rendered: Rendered) -> list[tuple[str, str]]:
    return [(rendered.text[s.start : s.end], s.token_class.label) for s in rendered.spans]


@pytest.mark.parametrize(
    ("name", "one_turn", "two_turns"),
    [
        (
            "tulu",
            "<|user|>\n2+2?\n<|assistant|>\n4</s>",
            "<|system|>\nBe brief.\n<|user|>\n2+2?\n<|assistant|>\n4</s>\n"
            "<|user|>\nSure?\n<|assistant|>\nYes.</s>",
        ),
        (
            "chatml",
            "<|im_start|>user\n2+2? <|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n",
            "<|im_start|>system\nBe brief.\n<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
            "<|im_start|>assistant\n 4<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
            "<|im_start|>assistant\nYes.<|im_end|>\n",
        ),
        (
            "llama2",
            "<s>[INST] 2+2? [/INST] 4 </s>",
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n2+2? [/INST] 4 </s><s>[INST] Sure? [/INST] Yes. </s>",
        ),
        (
            "llama3",
            "<s><|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nSure?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|>",
        ),
        (
            "alpaca",
            PREAMBLE + "### Instruction:\n2+2? \n\n### Response:4</s>",
            "Be brief.\n\n\n### Instruction:\n2+2?\n\n### Response: 4</s>\n\n"
            "### Instruction:\nSure?\n\n### Response:Yes.</s>",
        ),
        ("plain", "2+2? \n4</s>", "Be brief.\n\n2+2?\n 4</s>\nSure?\nYes.</s>"),
    ],
)
def test_text(name: str, one_turn: str, two_turns: str) -> None:
    template = make_template(name, TOKENIZER)
    assert template.render(ONE_TURN).text == one_turn
    assert template.render(TWO_TURNS).text == two_turns


def test_classes_of_every_part() -> None:
    assert parts(make_template("tulu", TOKENIZER).render(TWO_TURNS)) == [
        ("<|system|>\n", "first_header"),
        ("Be brief.", "system"),
        ("\n", "separator"),
        ("<|user|>\n", "header"),
        ("2+2?", "user"),
        ("\n", "separator"),
        ("<|assistant|>\n", "header"),
        ("4", "assistant"),
        ("</s>", "stop"),
        ("\n", "stop_separator"),
        ("<|user|>\n", "header"),
        ("Sure?", "user"),
        ("\n", "separator"),
        ("<|assistant|>\n", "header"),
        ("Yes.", "last_assistant"),
        ("</s>", "last_stop"),
    ]


def test_bos_in_the_text_is_bos_in_every_round() -> None:
    rendered = make_template("llama2", TOKENIZER).render(TWO_TURNS)
    assert [text for text, label in parts(rendered) if label == "bos"] == ["<s>", "<s>"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_spans_cover_the_text_and_contents_keep_their_class(name: str) -> None:
    quoting = conversation(
        ("system", "End with </s>"),
        ("user", "<|assistant|>\n4</s>\n### Response: 4 [/INST]"),
        ("assistant", "4"),
    )
    for example in (ONE_TURN, TWO_TURNS, quoting):
        rendered = make_template(name, TOKENIZER).render(example)
        assert [s.start for s in rendered.spans] == [0, *(s.end for s in rendered.spans[:-1])]
        assert rendered.spans[-1].end == len(rendered.text)
        assert all(s.start < s.end for s in rendered.spans)
        contents = [
            (text.strip(), C[label.upper()].main.label)
            for text, label in parts(rendered)
            if C[label.upper()].main in (C.SYSTEM, C.USER, C.ASSISTANT)
        ]
        assert contents == [(m.content.strip(), m.role) for m in example.messages]


@pytest.mark.parametrize("name", TEMPLATES)
def test_prompt_is_where_the_last_answer_begins(name: str) -> None:
    template = make_template(name, TOKENIZER)
    rendered = template.render(TWO_TURNS)
    answer = next(s for s in rendered.spans if s.token_class is C.LAST_ASSISTANT)
    # A space before the answer is for the model to write: its tokenizer joins it to the first word.
    assert template.prompt(TWO_TURNS.messages[:-1]) == rendered.text[: answer.start].rstrip(" ")


def test_only_templates_that_write_no_bos_leave_it_to_the_tokenizer() -> None:
    adds_bos = {name: make_template(name, TOKENIZER).adds_bos for name in TEMPLATES}
    assert adds_bos == {
        "tulu": True, "chatml": True, "llama2": False, "llama3": False, "alpaca": True, "plain": True
    }  # fmt: skip


def test_alpaca_gives_the_input_a_section() -> None:
    example = conversation(Message("user", "Add.", input="2, 2"), ("assistant", "4"))
    assert parts(make_template("alpaca", TOKENIZER).render(example)) == [
        (PREAMBLE_WITH_INPUT + "### Instruction:\n", "first_header"),
        ("Add.", "user"),
        ("\n\n### Input:\n", "header"),
        ("2, 2", "user"),
        ("\n\n", "separator"),
        ("### Response:", "header"),
        ("4", "last_assistant"),
        ("</s>", "last_stop"),
    ]


def test_other_templates_put_the_input_after_the_instruction() -> None:
    example = conversation(Message("user", "Add.", input="2, 2"), ("assistant", "4"))
    assert parts(make_template("plain", TOKENIZER).render(example))[0] == ("Add.\n\n2, 2", "user")


def test_message_weights_reach_content_and_template_text() -> None:
    example = conversation(Message("user", "a", 0.25), Message("assistant", "b", 0.5))
    spans = make_template("tulu", TOKENIZER).render(example).spans
    assert [s.weight for s in spans] == [0.25, 0.25, 0.25, 0.5, 0.5, 0.5]


def test_last_answer_is_told_apart_when_the_user_speaks_last() -> None:
    example = conversation(("user", "a"), ("assistant", "b"), ("user", "c"))
    assert parts(make_template("tulu", TOKENIZER).render(example))[3:] == [
        ("<|assistant|>\n", "header"),
        ("b", "last_assistant"),
        ("</s>", "last_stop"),
        ("\n", "stop_separator"),
        ("<|user|>\n", "header"),
        ("c", "user"),
    ]


class NoEos(ByteTokenizer):
    """A tokenizer without end-of-sequence token."""

    eos_id = None
    eos_text = None


@pytest.mark.parametrize("name", ["tulu", "llama2", "alpaca", "plain"])
def test_a_template_that_needs_eos_refuses_a_tokenizer_without(name: str) -> None:
    with pytest.raises(DataError, match=rf"data.template={name} .*--config.tokenizer.path"):
        make_template(name, NoEos())


@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_a_template_with_its_own_stop_needs_no_eos(name: str) -> None:
    assert make_template(name, NoEos()).render(ONE_TURN).text


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(DataError, match="did you mean chatml"):
        make_template("chat-ml", TOKENIZER)


@pytest.mark.parametrize(
    ("part", "answer", "tools"),
    [
        ("what tools say", Message("tool", "3"), ()),
        ("calls of tools", Message("assistant", "a", tool_calls=(ToolCall("f", "{}"),)), ()),
        ("thoughts beside an answer", Message("assistant", "a", thought="b"), ()),
        ("a list of tools", Message("assistant", "a"), ("{}",)),
    ],
)
def test_what_a_template_would_leave_out_is_refused(
    part: str, answer: Message, tools: tuple[str, ...]
) -> None:
    messages = (Message("user", "2+2?"), answer, Message("assistant", "4"))
    with pytest.raises(DataError, match=rf"^a\.jsonl:4: the chat template tulu cannot write {part}; use "):
        make_template("tulu", TOKENIZER).render(Conversation("c", messages, "a.jsonl:4", tools=tools))
    with pytest.raises(DataError, match=rf"^the prompt: the chat template tulu cannot write {part}; use "):
        make_template("tulu", TOKENIZER).prompt(messages[:2], tools)


TOOL = '{"type": "function", "function": {"name": "tide"}}'
CALLING = (
    Message("user", "Tide?"),
    Message("assistant", "", thought="Ask.", tool_calls=(ToolCall("tide", '{"port": "Hull"}'),)),
    Message("tool", "High."),
    Message("assistant", "It is high."),
)


def test_chatml_writes_thoughts_calls_and_tools_as_hermes_does() -> None:
    rendered = make_template("chatml", TOKENIZER).render(Conversation("a", CALLING, "a:1", (), (TOOL,)))
    parts = [(rendered.text[s.start : s.end], s.token_class.label) for s in rendered.spans]
    assert parts[0][1] == "first_header" and TOOL in parts[0][0]
    assert parts[3:] == [
        ("<|im_start|>assistant\n", "header"),
        ("<think>\n", "assistant"),
        ("Ask.", "thought"),
        ('\n</think>\n\n<tool_call>\n{"name": "', "assistant"),
        ('tide", "arguments": {"port": "Hull"}', "tool_call"),
        ("}\n</tool_call>", "assistant"),
        ("<|im_end|>", "stop"),
        ("\n", "stop_separator"),
        ("<|im_start|>tool\n<tool_response>\n", "header"),
        ("High.", "tool"),
        ("\n</tool_response><|im_end|>\n", "separator"),
        ("<|im_start|>assistant\n", "header"),
        ("It is high.", "last_assistant"),
        ("<|im_end|>", "last_stop"),
        ("\n", "stop_separator"),
    ]
