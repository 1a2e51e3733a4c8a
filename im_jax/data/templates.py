"""Chat templates: a conversation becomes one text, and every character of it has a class.

A built-in template writes pieces, each a text and a class, so a class is known because the template
wrote it and is never searched for. Templates of Hugging Face tokenizers, which write only text, are
in `im_jax.data.jinja_template`.
"""

import difflib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

from im_jax.data.conversation import Conversation, Message
from im_jax.data.tokenizer import Tokenizer
from im_jax.errors import DataError
from im_jax.token_classes import TokenClass

CONTENT_CLASS: Final = {
    "system": TokenClass.SYSTEM,
    "user": TokenClass.USER,
    "assistant": TokenClass.ASSISTANT,
}
"""Class of a message's content by its role."""


class Span(NamedTuple):
    """Characters `text[start:end]` of one class."""

    start: int
    end: int
    token_class: TokenClass
    weight: float
    """Weight of the message that the characters belong to; template text shares its message's."""


class Rendered(NamedTuple):
    """A conversation as text. The spans are in order, not empty, and cover the text without gaps."""

    text: str
    spans: tuple[Span, ...]


@runtime_checkable
class Template(Protocol):
    """Writes conversations as text."""

    @property
    def name(self) -> str:
        """Name or file, for reports."""

    @property
    def adds_bos(self) -> bool:
        """Whether a text wants a BOS token before it, should the tokenizer be one that adds it."""

    def render(self, conversation: Conversation) -> Rendered:
        """The whole conversation. Raises `DataError` where it cannot be written or attributed."""

    def prompt(self, messages: Sequence[Message]) -> str:
        """Text of messages up to where the model takes over, which is after an assistant header."""


class Piece(NamedTuple):
    """Text that a template writes for one message."""

    text: str
    token_class: TokenClass
    """A main class; `assemble` finds out which pieces are first or last ones."""
    message: int


def assemble(pieces: Iterable[Piece], messages: Sequence[Message]) -> Rendered:
    """Join pieces, and tell first headers, last answers and separators after a stop from the others."""
    last_answer = max(i for i, message in enumerate(messages) if message.role == "assistant")
    spans: list[Span] = []
    written = [piece for piece in pieces if piece.text]
    first_header = next((p for p in written if p.token_class is TokenClass.HEADER), None)
    end = 0
    for before, piece in zip([None, *written], written, strict=False):
        token_class = piece.token_class
        after_stop = before is not None and before.token_class is TokenClass.STOP
        if piece is first_header:
            token_class = TokenClass.FIRST_HEADER
        elif token_class is TokenClass.SEPARATOR and after_stop:
            token_class = TokenClass.STOP_SEPARATOR
        elif piece.message == last_answer:
            token_class = _LAST.get(token_class, token_class)
        start, end = end, end + len(piece.text)
        spans.append(Span(start, end, token_class, messages[piece.message].weight))
    return Rendered("".join(piece.text for piece in written), tuple(spans))


_LAST: Final = {
    TokenClass.ASSISTANT: TokenClass.LAST_ASSISTANT,
    TokenClass.STOP: TokenClass.LAST_STOP,
}


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


class _BuiltIn(NamedTuple):
    write: Callable[[Message, str | None, Boundaries], Parts]
    """Parts of a message, given the role of the message before it (None: there is none)."""
    joiner: str
    """Separator between messages."""
    needs_eos: bool
    writes_bos: bool


_BUILT_INS: Final = {
    "tulu": _BuiltIn(_tulu, "\n", needs_eos=True, writes_bos=False),
    "chatml": _BuiltIn(_chatml, "", needs_eos=False, writes_bos=False),
    "llama2": _BuiltIn(_llama2, "", needs_eos=True, writes_bos=True),
    "llama3": _BuiltIn(_llama3, "", needs_eos=False, writes_bos=True),
    "alpaca": _BuiltIn(_alpaca, "\n\n", needs_eos=True, writes_bos=False),
    "plain": _BuiltIn(_plain, "\n", needs_eos=True, writes_bos=False),
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
        return not _BUILT_INS[self.name].writes_bos

    def render(self, conversation: Conversation) -> Rendered:
        """See `Template.render`."""
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
        write, joiner, *_ = _BUILT_INS[self.name]
        before = None
        for i, message in enumerate(messages):
            if before is not None:
                yield Piece(joiner, TokenClass.SEPARATOR, i - 1)
            for text, token_class in write(message, before, self.boundaries):
                yield Piece(text, token_class, i)
            before = message.role


def make_template(name_or_path: str, tokenizer: Tokenizer) -> Template:
    """The template that `config.data.template` names, for a tokenizer.

    Args:
        name_or_path: one of `config.TEMPLATES`; or a `tokenizer_config.json`, a directory with one, or
            a `.jinja` file.
        tokenizer: gives the text of BOS and EOS.

    Raises:
        DataError: there is no such template, it needs an EOS that the tokenizer has not, or it writes
            text that cannot be attributed.
    """
    if name_or_path not in _BUILT_INS:
        return _template_from_file(name_or_path, tokenizer)
    if _BUILT_INS[name_or_path].needs_eos and not tokenizer.eos_text:
        without = " or ".join(name for name, built_in in _BUILT_INS.items() if not built_in.needs_eos)
        raise DataError(
            f"config.data.template={name_or_path} ends answers with the tokenizer's end-of-sequence token, "
            f"and this tokenizer has none; set --config.data.template={without}, or --config.tokenizer.path "
            f"to a tokenizer with one (eos_token in tokenizer_config.json)"
        )
    return BuiltInTemplate(name_or_path, Boundaries(tokenizer.bos_text or "", tokenizer.eos_text or ""))


def _template_from_file(path: str, tokenizer: Tokenizer) -> Template:
    # Imported here: the module below stands on this one, and needs jinja2.
    from im_jax.data.jinja_template import load_jinja_template

    file = pathlib.Path(path)
    if not (file.is_dir() or (file.is_file() and file.suffix in (".json", ".jinja"))):
        similar = difflib.get_close_matches(path, _BUILT_INS, n=1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        raise DataError(
            f"config.data.template={path} is neither a built-in template ({', '.join(_BUILT_INS)}) nor a "
            f"tokenizer_config.json, a directory with one, or a .jinja file{hint}"
        )
    return load_jinja_template(file, tokenizer)
