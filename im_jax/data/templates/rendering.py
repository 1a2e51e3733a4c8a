"""A rendered conversation: text, and spans of characters that know their class."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from im_jax.data.records.conversation import Conversation, Message
from im_jax.token_classes import TokenClass


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
    own: tuple[tuple[int, int], ...] = ()
    """Characters of answers that the template wrote by itself, such as `<think>`."""
    notes: tuple[str, ...] = ()
    """What a user should know of it, such as thoughts that the template leaves out; counted in reports."""


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

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> str:
        """Text of messages up to where the model takes over, which is after an assistant header.

        Args:
            messages: the conversation so far.
            tools: JSON text of each tool that may be called, as in `Conversation.tools`.

        Raises:
            DataError: they cannot be written.
        """


class Piece(NamedTuple):
    """Text that a template writes for one message."""

    text: str
    token_class: TokenClass
    """A main class; `assemble` finds out which pieces are first or last ones."""
    message: int
    own: bool = False
    """Whether the template wrote it into an answer, around what the message says."""


def assemble(pieces: Iterable[Piece], messages: Sequence[Message], notes: tuple[str, ...] = ()) -> Rendered:
    """Join pieces, and tell first headers, last answers and separators after a stop from the others."""
    last_answer = max(i for i, message in enumerate(messages) if message.role == "assistant")
    spans: list[Span] = []
    pieces = list(pieces)
    written = _merged(pieces)
    first_header = next((p for p in written if p.token_class is TokenClass.HEADER), None)
    end, after_stop = 0, False
    for piece in written:
        token_class = piece.token_class
        after_stop = token_class is TokenClass.STOP or (after_stop and token_class is TokenClass.SEPARATOR)
        if piece is first_header:
            token_class = TokenClass.FIRST_HEADER
        elif token_class is TokenClass.SEPARATOR and after_stop:
            token_class = TokenClass.STOP_SEPARATOR
        elif piece.message == last_answer:
            token_class = _LAST.get(token_class, token_class)
        start, end = end, end + len(piece.text)
        spans.append(Span(start, end, token_class, messages[piece.message].weight))
    return Rendered("".join(piece.text for piece in written), tuple(spans), tuple(_own(pieces)), notes)


def _own(pieces: Iterable[Piece]) -> Iterator[tuple[int, int]]:
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece.text)
        if piece.own and piece.text:
            yield start, end


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces without empty ones, neighbours of one class and message joined."""
    merged: list[Piece] = []
    for piece in pieces:
        before = merged[-1] if merged else None
        if not piece.text:
            continue
        if before and before.token_class is piece.token_class and before.message == piece.message:
            merged[-1] = before._replace(text=before.text + piece.text)
        else:
            merged.append(piece)
    return merged


_LAST: Final = {
    TokenClass.ASSISTANT: TokenClass.LAST_ASSISTANT,
    TokenClass.STOP: TokenClass.LAST_STOP,
    TokenClass.TOOL_CALL: TokenClass.LAST_TOOL_CALL,
    TokenClass.THOUGHT: TokenClass.LAST_THOUGHT,
}
