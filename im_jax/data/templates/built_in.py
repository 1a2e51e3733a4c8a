"""The built-in templates: each writes pieces, a text and a class, so no class is ever searched for."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates.given import CONTENT_CLASS
from im_jax.data.templates.rendering import Piece, Rendered, assemble
from im_jax.data.templates.unwritten import refuse_unwritten
from im_jax.token_classes import TokenClass


class Boundaries(NamedTuple):
    """Text of the tokenizer's special tokens; empty where it has none."""

    bos: str
    eos: str


Parts = Iterator[tuple[str, TokenClass]]
TOOLS: Final = (
    "# Tools\n\nFunctions that may be called, each with its signature in JSON:\n"
    "<tools>\n{tools}\n</tools>\n\n"
    "To call one, write a JSON object with its name and arguments:\n<tool_call>\n"
    '{{"name": <function-name>, "arguments": <args-json-object>}}\n</tool_call>'
)
"""What `chatml` writes of tools, with a line for each."""


def _tulu(message: Message, before: str | None, marks: Boundaries) -> Parts:
    """Plain-text headers, as in the code released with Instruction Modelling."""
    yield f"<|{message.role}|>\n", TokenClass.HEADER
    yield message.text.strip(), CONTENT_CLASS[message.role]
    if message.role == "assistant":
        yield marks.eos, TokenClass.STOP


def _chatml(message: Message, before: str | None, marks: Boundaries) -> Parts:
    """Thoughts and calls as Qwen and Hermes write them."""
    around = ("<tool_response>\n", "\n</tool_response>") if message.role == "tool" else ("", "")
    yield f"<|im_start|>{message.role}\n{around[0]}", TokenClass.HEADER
    if message.thought:
        yield "<think>\n", TokenClass.ASSISTANT
        yield message.thought, TokenClass.THOUGHT
        yield "\n</think>\n\n", TokenClass.ASSISTANT
    yield message.text, CONTENT_CLASS[message.role]
    for i, call in enumerate(message.tool_calls):
        yield ("\n" if i or message.text else "") + '<tool_call>\n{"name": "', TokenClass.ASSISTANT
        name = json.dumps(call.name, ensure_ascii=False)[1:-1]
        yield f'{name}", "arguments": {call.arguments}', TokenClass.TOOL_CALL
        yield "}\n</tool_call>", TokenClass.ASSISTANT
    yield around[1], TokenClass.SEPARATOR
    yield "<|im_end|>", TokenClass.STOP if message.role == "assistant" else TokenClass.SEPARATOR
    yield "\n", TokenClass.SEPARATOR


def _llama2(message: Message, before: str | None, marks: Boundaries) -> Parts:
    """System text stands inside the first instruction; every round is a sequence of its own."""
    content = message.text.strip(), CONTENT_CLASS[message.role]
    if message.role == "system":
        yield marks.bos, TokenClass.BOS
        yield "[INST] <<SYS>>\n", TokenClass.HEADER
        yield content
        yield "\n<</SYS>>\n\n", TokenClass.SEPARATOR
    elif message.role == "user":
        if before != "system":
            yield marks.bos, TokenClass.BOS
            yield "[INST] ", TokenClass.HEADER
        yield content
        yield " [/INST]", TokenClass.SEPARATOR
    else:
        yield " ", TokenClass.HEADER
        yield content
        yield f" {marks.eos}", TokenClass.STOP


def _llama3(message: Message, before: str | None, marks: Boundaries) -> Parts:
    if before is None:
        yield marks.bos, TokenClass.BOS
    yield f"<|start_header_id|>{message.role}<|end_header_id|>\n\n", TokenClass.HEADER
    yield message.text.strip(), CONTENT_CLASS[message.role]
    yield "<|eot_id|>", TokenClass.STOP if message.role == "assistant" else TokenClass.SEPARATOR


ALPACA_PREAMBLES: Final = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n",
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n",
)
"""Without an input, and with one."""


def _alpaca(message: Message, before: str | None, marks: Boundaries) -> Parts:
    """Stanford Alpaca's prompt. System text takes the place of the preamble, whose part it plays.

    As in Stanford's code, the answer follows `### Response:` without a space or a newline.
    """
    if message.role == "assistant":
        yield "### Response:", TokenClass.HEADER
        yield message.content, TokenClass.ASSISTANT
        yield marks.eos, TokenClass.STOP
        return
    if message.role == "system":
        yield message.content, TokenClass.SYSTEM
        return
    yield ("" if before else ALPACA_PREAMBLES[bool(message.input)]) + "### Instruction:\n", TokenClass.HEADER
    yield message.content, TokenClass.USER
    if message.input:
        yield "\n\n### Input:\n", TokenClass.HEADER
        yield message.input, TokenClass.USER


def _plain(message: Message, before: str | None, marks: Boundaries) -> Parts:
    yield message.text, CONTENT_CLASS[message.role]
    if message.role == "assistant":
        yield marks.eos, TokenClass.STOP


class BuiltIn(NamedTuple):
    write: Callable[[Message, str | None, Boundaries], Parts]
    """Parts of a message, given the role of the message before it (None: there is none)."""
    joiner: str
    """Separator between messages."""
    needs_eos: bool
    writes_bos: bool
    writes_tools: bool = False
    """Whether it knows thoughts, tools, calls and what tools say."""


BUILT_INS: Final = {
    "tulu": BuiltIn(_tulu, "\n", needs_eos=True, writes_bos=False),
    "chatml": BuiltIn(_chatml, "", needs_eos=False, writes_bos=False, writes_tools=True),
    "llama2": BuiltIn(_llama2, "", needs_eos=True, writes_bos=True),
    "llama3": BuiltIn(_llama3, "", needs_eos=False, writes_bos=True),
    "alpaca": BuiltIn(_alpaca, "\n\n", needs_eos=True, writes_bos=False),
    "plain": BuiltIn(_plain, "\n", needs_eos=True, writes_bos=False),
}


@dataclass(frozen=True)
class BuiltInTemplate:
    """One of `config.TEMPLATES`, with the special tokens of a tokenizer.

    With `tulu`, the messages user "2+2?" and assistant "4" become

        <|user|>\\n       first_header
        2+2?             user
        \\n               separator
        <|assistant|>\\n  header
        4                last_assistant
        </s>             last_stop
    """

    name: str
    boundaries: Boundaries

    @property
    def adds_bos(self) -> bool:
        """See `Template.adds_bos`."""
        return not BUILT_INS[self.name].writes_bos

    def render(self, conversation: Conversation) -> Rendered:
        """See `Template.render`."""
        if not BUILT_INS[self.name].writes_tools:
            refuse_unwritten(conversation, self.name)
        messages, tools = conversation.messages, conversation.tools
        return assemble(self._pieces(messages, tools), messages)

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> str:
        """See `Template.prompt`."""
        if not BUILT_INS[self.name].writes_tools:
            refuse_unwritten(Conversation("", tuple(messages), "the prompt", tools=tuple(tools)), self.name)
        opening = itertools.takewhile(
            lambda piece: piece.token_class is not TokenClass.ASSISTANT or piece.message < len(messages),
            self._pieces([*messages, Message("assistant", "")], tools),
        )
        # A space at the end is left to the model: tokenizers join it to the word that follows.
        return "".join(piece.text for piece in opening).rstrip(" ")

    def _pieces(self, messages: Sequence[Message], tools: Sequence[str]) -> Iterator[Piece]:
        write, joiner, *_ = BUILT_INS[self.name]
        before = None
        listed = TOOLS.format(tools="\n".join(tools)) if tools else ""
        if listed and messages[0].role != "system":
            yield Piece(f"<|im_start|>system\n{listed}<|im_end|>\n", TokenClass.HEADER, 0)
            listed = ""
        for i, message in enumerate(messages):
            if before is not None:
                yield Piece(joiner, TokenClass.SEPARATOR, i - 1)
            for text, token_class in write(message, before, self.boundaries):
                yield Piece(text, token_class, i)
                if listed and token_class is TokenClass.SYSTEM:
                    yield Piece(f"\n\n{listed}", TokenClass.SEPARATOR, i)
            listed, before = "", message.role
