"""Families of chat templates, token by token, beside an oracle that knows nothing of how they are attributed.

Contents are words that occur nowhere else (`conversations`), so their characters are found by looking; what the
model writes is found by the published format (`Family.written`).
"""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
import pytest
import tokenizers

from im_jax.data.encoding import encode_conversation
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import DataError
from im_jax.losses.policy import policy_weights
from tests.data.synthetic import sentencepiece_model
from tests.data.templates.conversations import (
    CONVERSATIONS,
    MARKS,
    NOW,
    SPECIAL,
    TOOL,
    answer,
    cases,
    conversation,
    examples,
    template,
    thinking,
    user,
)
from tests.data.templates.families import FAMILIES, Family
from tests.data.templates.families.glm import GLM_4_UNSTOPPED

TRIMMING = (
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|im_start|>",
    "<|im_end|>",
    "</s>",
    "[/INST]",
    "<|eot_id|>",
)
"""Marks that take the white space around them in one of the tokenizers, as those of Phi-3 do."""


@pytest.fixture(scope="module", params=["tokenizer.json", "tokenizer.json that trims", "SentencePiece"])
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
        special_tokens=["<s>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|eot_id|>", "<end_of_turn>"],
    )
    made.train_from_iterator(texts, trainer)
    if request.param.endswith("trims"):
        made.add_tokens(
            [
                tokenizers.AddedToken(text, special=i % 2 == 0, normalized=False, lstrip=True, rstrip=True)
                for i, text in enumerate(TRIMMING)
            ]
        )
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


def check_tokens(family: Family, example: Conversation, tokenizer: Tokenizer) -> None:
    """Each token carries loss if any of its characters does, under three policies."""
    made = template(family.source)
    text = made.render(example).text
    encoding = tokenizer.encode(text)
    encoded = encode_conversation(example, made, tokenizer, max_length=10_000)
    np.testing.assert_array_equal(encoded.tokens, encoding.ids)
    assert len(family.written(text)) == sum(m.role == "assistant" for m in example.messages)
    for policy in ("it", "im", "last_turn"):
        characters = trained_characters(family, text, policy)
        expected = []
        for start, end in zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True):
            if text[start:end].strip() in TRIMMING:  # what it takes beside belongs to others
                start += len(text[start:end]) - len(text[start:end].lstrip())
                end = start + len(text[start:end].rstrip())
            expected.append(bool(characters[start : max(end, start + 1)].any()))
        assert (policy_weights(policy)[encoded.classes] > 0).tolist() == expected, policy


@pytest.mark.parametrize(("family", "example"), cases(able=True))
def test_each_token_carries_loss_as_the_format_says(
    family: Family, example: Conversation, tokenizer: Tokenizer
) -> None:
    check_tokens(family, example, tokenizer)


@pytest.mark.parametrize(("family", "example"), cases(able=True))
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
            *((re.search(r"qport\d qbay", c.arguments)[0], f"{prefix}tool_call") for c in message.tool_calls),  # type: ignore[index]
        ):
            found = list(spots(rendered.text, re.escape(words))) if words else []
            assert len(found) == 1 or not words or (label == "thought" and not found)
            for start, end in found:
                assert set(labels[start:end].tolist()) == {label}


def _thought_inside(message: Message) -> str:
    found = re.search(r"<think>\n(.*)\n</think>", message.content)
    return found[1] if found else ""


@pytest.mark.parametrize(("family", "example"), cases(able=True))
def test_contents_that_quote_their_family_stay_contents(family: Family, example: Conversation) -> None:
    made = template(family.source)
    marks = made.render(CONVERSATIONS[""]["two turns"]).text
    quote = " ".join(re.sub(r'</?think>|"|/think|q[a-z]+\d q[a-z]+', "", marks).split())
    quotes = {
        m.content: f"{quote} {i}." for i, m in enumerate(example.messages) if "</think>" not in m.content
    }
    quotes.pop("", None)
    messages = [dataclasses.replace(m, content=quotes.get(m.content, m.content)) for m in example.messages]
    plain, quoting = (
        [(rendered.text[s.start : s.end], s.token_class) for s in rendered.spans]
        for rendered in (
            made.render(example),
            made.render(dataclasses.replace(example, messages=tuple(messages))),
        )
    )
    words = re.compile("|".join(map(re.escape, quotes)) or r"(?!)")
    assert quoting == [(words.sub(lambda found: quotes[found[0]], text), c) for text, c in plain]


@pytest.mark.parametrize(("family", "example"), cases(able=False))
def test_what_a_format_has_no_place_for_is_refused_by_name(family: Family, example: Conversation) -> None:
    reason = "leaves out the (name of a tool|tool 'tide'|text|thought) |fails on messages of .*: |writes no stop after"
    with pytest.raises(DataError, match=f"data.jsonl:7: the chat template family ({reason})"):
        template(family.source).render(example)


@pytest.mark.parametrize(
    ("name", "needs", "case", "reason"),
    [
        ("DeepSeek-R1", "inside", "a thought inside", "leaves out the thought of an assistant message, message 2"),
        ("DeepSeek-R1", "tools", "tools", "leaves out the tool 'tide' of the conversation's list; remove `tools`"),
        ("Gemma 2", "system", "system", "fails on messages of system, user, .*: System role not supported"),
        ("Llama 3.1", "text_calls", "text and a call", "leaves out the text of an assistant message, message 2"),
        ("Llama 3.1", "calls_at_once", "calls at once", "fails on messages of .*: One call at once!"),
        ("Zephyr", "calls", "a call", "leaves out the name of a tool of an assistant message, message 3"),
    ],
)  # fmt: skip
def test_the_reason_and_the_place_are_said(name: str, needs: str, case: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"data.jsonl:7: the chat template family {reason}"):
        template(FAMILIES[name].source).render(CONVERSATIONS[needs][case])


def test_each_tool_of_a_list_must_be_written() -> None:
    source = FAMILIES["ChatML"].source.replace("{%- for", "{{ tools[0] | tojson if tools }}{%- for", 1)
    first, second = TOOL.replace("tide", 'ti\\"de'), TOOL.replace("tide", "moon")
    one_turn = CONVERSATIONS[""]["one turn"].messages
    assert template(source).render(conversation(*one_turn, tools=(first,))).text.startswith("{")
    with pytest.raises(DataError, match="leaves out the tool 'moon'"):
        template(source).render(conversation(*one_turn, tools=(first, second)))


def test_answers_that_only_the_next_message_ends_are_refused() -> None:
    with pytest.raises(DataError, match="writes no stop after message 2"):
        template(GLM_4_UNSTOPPED)


@pytest.mark.parametrize(
    ("name", "needs", "case", "notes"),
    [
        ("Qwen3", "thoughts", "thoughts", ("the chat template leaves out thoughts of earlier turns",)),
        (
            "GPT-OSS",
            "thought_calls",
            "thoughts and a call",
            ("the chat template leaves out thoughts of calls that an answer follows",),
        ),
        (
            "DeepSeek-R1",
            "",
            "one turn",
            ("the generation prompt goes on with '<think>\\n', which training texts lack",),
        ),
        (
            "OLMo 3 Think",
            "",
            "one turn",
            ("the generation prompt goes on with '<think>', which training texts lack",),
        ),
        (
            "Nemotron-3",
            "",
            "one turn",
            (
                "the generation prompt goes on with '\\n', which training texts lack; "
                "answers begin with '</think>', which the generation prompt lacks: it is trained",
            ),
        ),
        ("OLMo 3 Think", "inside", "a thought inside", ()),
        ("Nemotron-3", "inside", "a thought inside", ()),
    ],
)
def test_what_a_template_leaves_out_or_adds_is_told(
    name: str, needs: str, case: str, notes: tuple[str, ...]
) -> None:
    assert template(FAMILIES[name].source).render(CONVERSATIONS[needs][case]).notes == notes


def test_a_template_that_knows_no_thoughts_writes_those_of_all_turns_in_the_contents() -> None:
    """Where only an earlier turn thinks, its thought would be missed otherwise."""
    example = conversation(user(1), thinking(1), user(2), answer(2))
    rendered = template(FAMILIES["ChatML"].source).render(example)
    assert "<|im_start|>assistant\n<think>\nqthought1 qmuses\n</think>\n\nqanswer1" in rendered.text
    assert rendered.notes == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_template_writes_does_not_depend_on_the_examples_before(name: str) -> None:
    """Examples are encoded by several processes, in chunks of any size."""
    family = FAMILIES[name]
    written = [example for _, example, able in examples(family) if able]
    forwards, backwards = (JinjaTemplate("family", family.source, SPECIAL, NOW, MARKS) for _ in range(2))
    expected = [forwards.render(example) for example in written]
    assert [backwards.render(example) for example in reversed(written)][::-1] == expected


def test_a_prompt_that_would_lack_a_part_is_refused_and_how_its_text_is_attributed_does_not_matter() -> None:
    question, tools = [Message("user", "Tide?")], [TOOL]
    with pytest.raises(DataError, match="family leaves out the tool 'tide' of the conversation's list"):
        template(FAMILIES["ChatML"].source).prompt(question, tools)
    with pytest.raises(DataError, match="family leaves out the name of a tool of an assistant message"):
        template(FAMILIES["Zephyr"].source).prompt(
            [*question, *CONVERSATIONS["calls"]["a call"].messages[2:4]]
        )
    upper = template(
        "{% for m in messages %}{{ m.content if m.role != 'tool' else m.content | upper }}</s>{% endfor %}"
    )
    assert upper.prompt([*question, Message("assistant", "a"), Message("tool", "b")]) == "Tide?</s>a</s>B</s>"
