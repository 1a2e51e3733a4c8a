"""What ends an answer when a model writes one: every stop that the template writes, as tokens.

A template may end answers otherwise that call tools (`<|eom_id|>`, `<|call|>`), or those of earlier turns
(`<|im_end|>` of OLMo 3, beside its end of the text). A mark that also stands inside of answers ends none:
GPT-OSS closes thoughts with the `<|end|>` of its earlier turns.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from im_jax.data.encoding import encode_conversation
from im_jax.data.records.conversation import Conversation, Message, ToolCall
from im_jax.data.templates import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import DataError
from im_jax.token_classes import TokenClass

_USER: Final = Message("user", "a")
_ANSWER: Final = Message("assistant", "a")
_CALLS: Final = Message("assistant", "", tool_calls=(ToolCall("a", '{"a": "a"}', as_text=False),))
_SHOWN: Final = (
    (_USER, _ANSWER),
    (_USER, _ANSWER, _USER, _ANSWER),
    (_USER, Message("assistant", "a", thought="a")),
    (_USER, _CALLS),
    (_USER, _CALLS, Message("tool", "a", name="a"), _ANSWER),
)
"""Conversations whose answers end in all ways that are known of."""
_LONGEST: Final = 1 << 30


def stop_tokens(template: Template, tokenizer: Tokenizer) -> list[int]:
    """Tokens that end a plain answer: one, unless the tokenizer has no token for the template's stop text."""
    return next(iter(stop_sequences(template, tokenizer, _SHOWN[:1])), [])


def stop_sequences(
    template: Template, tokenizer: Tokenizer, shown: Sequence[Sequence[Message]] = _SHOWN
) -> list[list[int]]:
    """The tokens of each stop, that of a plain answer first; of conversations that the template can write."""
    stops: dict[tuple[int, ...], None] = {}
    inside: list[tuple[int, ...]] = []
    for number, messages in enumerate(shown):
        try:
            parts = list(_parts(messages, template, tokenizer))
        except DataError:
            if not number:
                raise
            continue  # it knows no thoughts, no tools, or one turn alone
        stops |= {tokens: None for token_class, tokens in parts if token_class is TokenClass.STOP}
        inside += [tokens for token_class, tokens in parts if token_class is TokenClass.ASSISTANT]
    first = next(iter(stops), None)
    return [list(stop) for stop in stops if stop == first or not any(_holds(part, stop) for part in inside)]


def _parts(
    messages: Sequence[Message], template: Template, tokenizer: Tokenizer
) -> Iterator[tuple[TokenClass, tuple[int, ...]]]:
    """Neighbouring tokens of one main class."""
    conversation = Conversation("", tuple(messages), "stop_sequences")
    encoded = encode_conversation(conversation, template, tokenizer, max_length=_LONGEST)
    tokens = zip((TokenClass(c).main for c in encoded.classes), encoded.tokens.tolist(), strict=True)
    for token_class, group in itertools.groupby(tokens, key=lambda token: token[0]):
        yield token_class, tuple(token for _, token in group)


def _holds(part: tuple[int, ...], stop: tuple[int, ...]) -> bool:
    return any(part[at : at + len(stop)] == stop for at in range(len(part) - len(stop) + 1))
