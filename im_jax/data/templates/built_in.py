"""The built-in templates: each writes pieces, a text and a class, so no class is ever searched for."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates.rendering import CONTENT_CLASS, Piece, Rendered, assemble
from im_jax.data.templates.unwritten import refuse_unwritten
from im_jax.token_classes import TokenClass


class Boundaries(NamedTuple):
    """Text of the tokenizer's special tokens; empty where it has none."""

    bos: str
    eos: str


Parts = Iterator[tuple[str, TokenClass]]


def _tulu(message: Message, before: str | None, marks: Boundaries) -> Parts:
    """Plain-text headers, as in the code released with Instruction Modelling."""
    yield f"<|{message.role}|>\n", TokenClass.HEADER
    yield message.text.strip(), CONTENT_CLASS[message.role]
    if message.role == "assistant":
        yield marks.eos, TokenClass.STOP


def _chatml(message: Message, before: str | None, marks: Boundaries) -> Parts:
    yield f"<|im_start|>{message.role}\n", TokenClass.HEADER
    yield message.text, CONTENT_CLASS[message.role]
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


_ALPACA_PREAMBLE: Final = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n"
)
_ALPACA_PREAMBLE_WITH_INPUT: Final = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)


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
    preamble = _ALPACA_PREAMBLE_WITH_INPUT if message.input else _ALPACA_PREAMBLE
    yield ("" if before else preamble) + "### Instruction:\n", TokenClass.HEADER
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


BUILT_INS: Final = {
    "tulu": BuiltIn(_tulu, "\n", needs_eos=True, writes_bos=False),
    "chatml": BuiltIn(_chatml, "", needs_eos=False, writes_bos=False),
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
        refuse_unwritten(conversation, self.name)
        return assemble(self._pieces(conversation.messages), conversation.messages)

    def prompt(self, messages: Sequence[Message]) -> str:
        """See `Template.prompt`."""
        opening = itertools.takewhile(
            lambda piece: piece.token_class is not TokenClass.ASSISTANT or piece.message < len(messages),
            self._pieces([*messages, Message("assistant", "")]),
        )
        # A space at the end is left to the model: tokenizers join it to the word that follows.
        return "".join(piece.text for piece in opening).rstrip(" ")

    def _pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
        write, joiner, *_ = BUILT_INS[self.name]
        before = None
        for i, message in enumerate(messages):
            if before is not None:
                yield Piece(joiner, TokenClass.SEPARATOR, i - 1)
            for text, token_class in write(message, before, self.boundaries):
                yield Piece(text, token_class, i)
            before = message.role
