"""Families of chat templates beside transformers, which writes the text, and TRL, which carries some of them."""

import datetime
import functools
import importlib.resources
import json
from typing import Any

import numpy as np
import pytest

from im_jax.data.records.conversation import Conversation
from im_jax.data.tokenizers import Tokenizer
from tests.data.templates.conversations import NOW, SPECIAL, cases, template
from tests.data.templates.families import FAMILIES, Family
from tests.data.templates.test_families import check_tokens, spots, tokenizer

__all__ = ["tokenizer"]  # the fixture
NEEDS_TRL = "needs the extra `peers`"
OF_TRL = [case for case in cases(able=True) if case.values[0].trl]


def chat(family: Family, example: Conversation) -> list[dict[str, Any]]:
    """The messages as transformers takes them."""
    given: list[dict[str, Any]] = []
    waiting: list[str] = []
    number = 0
    for message in example.messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.thought and "thoughts" in family.has:
            turn |= {"reasoning_content": message.thought, "thinking": message.thought}
        elif message.thought:
            turn["content"] = f"<think>\n{message.thought}\n</think>\n\n{message.content}"
        for call in message.tool_calls:
            number += 1
            as_text = family is FAMILIES["DeepSeek-R1"]
            arguments = call.arguments if as_text else json.loads(call.arguments)
            waiting.append(f"{number:09d}")
            turn.setdefault("tool_calls", []).append(
                {
                    "id": waiting[-1],
                    "type": "function",
                    "function": {"name": call.name, "arguments": arguments},
                }
            )
        if message.role == "tool":
            turn |= {"name": message.name, "tool_call_id": waiting.pop(0)}
        given.append(turn)
    return given


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Any:
    """transformers' rendering of chats, on the day of these tests."""
    pytest.importorskip("transformers", reason="needs the extra `parity`")
    from transformers.utils import chat_template_utils

    class Then(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return NOW

    monkeypatch.setattr(chat_template_utils, "datetime", Then)
    return functools.partial(chat_template_utils.render_jinja_template, **SPECIAL)


@pytest.mark.parity
@pytest.mark.parametrize(("family", "example"), cases(able=True))
def test_text_is_that_of_transformers(family: Family, example: Conversation, render: Any) -> None:
    tools = [json.loads(tool) for tool in example.tools] or None
    given = chat(family, example)
    texts, _ = render([given], tools=tools, chat_template=family.source)
    assert template(family.source).render(example).text == texts[0]
    prompts, _ = render([given[:-1]], tools=tools, chat_template=family.source, add_generation_prompt=True)
    assert template(family.source).prompt(example.messages[:-1], example.tools) == prompts[0]


@pytest.mark.parametrize(("family", "example"), OF_TRL)
def test_templates_that_trl_carries_agree_too(
    family: Family, example: Conversation, tokenizer: Tokenizer
) -> None:
    if family is FAMILIES["DeepSeek-R1"] and any(m.tool_calls for m in example.messages):
        pytest.skip("TRL's template ends no single call")
    check_tokens(Family(_of_trl(family.trl), family.answer, family.has), example, tokenizer)


@pytest.mark.parity
@pytest.mark.parametrize(("family", "example"), OF_TRL)
def test_what_the_format_says_is_written_is_what_trl_trains(
    family: Family, example: Conversation, render: Any
) -> None:
    """What TRL trains beyond is no content: parts of headers, and what stands behind stops."""
    if family is FAMILIES["DeepSeek-R1"] and sum(bool(m.tool_calls) for m in example.messages) > 1:
        pytest.skip("TRL's template writes no mark of the assistant before a second call")
    source = _of_trl(family.trl.removesuffix("_training") + "_training")
    tools = [json.loads(tool) for tool in example.tools] or None
    texts, spans = render(
        [chat(family, example)], tools=tools, chat_template=source, return_assistant_tokens_mask=True
    )
    theirs = np.zeros(len(texts[0]), bool)
    for start, end in spans[0]:
        theirs[start:end] = True
    ours = np.zeros(len(texts[0]), bool)
    for start, end in family.written(texts[0]):
        ours[start:end] = True
    assert ours.any() and not (ours & ~theirs).any()
    for start, end in spots(texts[0], r"q[a-z]+\d? q[a-z]+"):
        assert theirs[start:end].tolist() == ours[start:end].tolist()


def _of_trl(name: str) -> str:
    pytest.importorskip("trl", reason=NEEDS_TRL)
    folder = importlib.resources.files("trl") / "chat_templates"
    if not (folder / f"{name}.jinja").is_file():
        pytest.skip(f"TRL carries no {name}")
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")
