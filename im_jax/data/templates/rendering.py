"""A rendered conversation: text, and spans of characters that know their class."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from im_jax.data.records.conversation import Conversation, Message
from im_jax.token_classes import TokenClass

CONTENT_CLASS: Final = {
    "system": TokenClass.SYSTEM,
    "user": TokenClass.USER,
    "assistant": TokenClass.ASSISTANT,
    "tool": TokenClass.TOOL,
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
    TokenClass.TOOL_CALL: TokenClass.LAST_TOOL_CALL,
    TokenClass.THOUGHT: TokenClass.LAST_THOUGHT,
}
