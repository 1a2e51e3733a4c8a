"""Conversations become tokens that each know their class.

A conversation is rendered to one text with spans, the text is tokenised once, and the class of a token
follows from the characters that it covers. With the `tulu` template and a Llama-style tokenizer, the
messages user "Say hi." and assistant "Hi!" become

    text    <|user|>\\nSay hi.\\n<|assistant|>\\nHi!</s>

    token   <s>  ▁<  |  user  |  >  \\n  S  ay  ▁hi  .  \\n  <  |  ass  istant  |  >  \\n  Hi  !  </s>
    class   B    F  F  F     F  F  F   U  U   U    U  S   H  H  H    H       H  H  H   A   A  T

with B bos, F first_header, U user, S separator, H header, A last_assistant, T last_stop. The BOS is put
in front here, because the template leaves it to the tokenizer.

A token may cover characters of two spans: GPT-2 makes one token of the space after "Response:" and the
number that answers. It then takes the class that comes first in

    stop > assistant > user > system > separators > headers > bos

so that contents and stops never lose a token to the template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.config import CHOICES
from im_jax.data.conversation import Conversation, Message
from im_jax.data.templates import CONTENT_CLASS, Rendered, Template
from im_jax.data.tokenizers import Encoding, Tokenizer
from im_jax.errors import ConfigError
from im_jax.token_classes import MAIN_CLASS_TABLE, NUM_CLASSES, OUTPUT_CLASSES, TokenClass

_BY_PRIORITY: Final = (
    TokenClass.PAD,
    TokenClass.BOS,
    TokenClass.HEADER,
    TokenClass.SEPARATOR,
    TokenClass.SYSTEM,
    TokenClass.USER,
    TokenClass.ASSISTANT,
    TokenClass.STOP,
)
_PRIORITY: Final = np.argsort(_BY_PRIORITY)[MAIN_CLASS_TABLE]
"""Rank of each class, sub-classes with their main class; the highest takes a shared token."""
_CONTENT: Final = np.isin(MAIN_CLASS_TABLE, list(CONTENT_CLASS.values()))
_OUTPUT: Final = np.isin(np.arange(NUM_CLASSES), OUTPUT_CLASSES)


@dataclass(frozen=True)
class EncodedExample:
    """The T tokens of a conversation, truncated; none if the `drop` policy left it out."""

    id: str
    tokens: jt.Int32[np.ndarray, " T"]
    classes: jt.UInt8[np.ndarray, " T"]
    weights: jt.Float32[np.ndarray, " T"]
    """Weight of the message that each token belongs to."""
    full_length: int
    """Tokens before truncation."""
    special_in_content: int
    """Special tokens found inside contents before truncation, such as an `</s>` in a user's text."""

    @property
    def dropped(self) -> bool:
        """Whether it was too long and left out."""
        return len(self.tokens) == 0

    @property
    def truncated(self) -> bool:
        """Whether it was too long and cut."""
        return 0 < len(self.tokens) < self.full_length

    @property
    def has_output(self) -> bool:
        """Whether any output token can be a target; the first token never is one."""
        return bool(_OUTPUT[self.classes[1:]].any())


def encode_conversation(
    conversation: Conversation,
    template: Template,
    tokenizer: Tokenizer,
    *,
    max_length: int,
    truncation: str = "right",
) -> EncodedExample:
    """`encode_conversations` of one."""
    return encode_conversations(
        [conversation], template, tokenizer, max_length=max_length, truncation=truncation
    )[0]


def encode_conversations(
    conversations: Sequence[Conversation],
    template: Template,
    tokenizer: Tokenizer,
    *,
    max_length: int,
    truncation: str = "right",
) -> list[EncodedExample]:
    """Render, tokenise, classify and truncate.

    Args:
        conversations: the examples.
        template: writes them as text.
        tokenizer: makes tokens of the text.
        max_length: most tokens an example may keep, BOS included.
        truncation: what happens to longer ones. `right`: the first `max_length` tokens stay.
            `keep_output`: user tokens go, the earliest first, then system tokens; if template and output
            alone are too long, the rest is cut from the right. `drop`: the example stays without tokens.

    Returns:
        One encoded example for each conversation, in order.

    Raises:
        DataError: the template cannot write or attribute a conversation.
    """
    if truncation not in CHOICES["data.truncation"]:
        choices = ", ".join(CHOICES["data.truncation"])
        raise ConfigError(f"data.truncation={truncation}; set it to one of {choices}")
    rendered = [template.render(conversation) for conversation in conversations]
    encoded = tokenizer.encode_batch([text for text, _ in rendered])
    special_ids = np.array(sorted(tokenizer.special_ids), np.int32)
    examples = []
    for conversation, text_and_spans, encoding in zip(conversations, rendered, encoded, strict=True):
        tokens = encoding.ids
        classes, weights = _classify(text_and_spans, encoding)
        special_in_content = int(np.count_nonzero(_CONTENT[classes] & np.isin(tokens, special_ids)))
        if (bos_id := _missing_bos(text_and_spans.text, template, tokenizer)) is not None:
            tokens = np.insert(tokens, 0, bos_id)
            classes = np.insert(classes, 0, TokenClass.BOS)
            weights = np.insert(weights, 0, 1.0)
        kept = _kept(classes, max_length, truncation)
        examples.append(
            EncodedExample(
                id=conversation.id,
                tokens=tokens[kept],
                classes=classes[kept],
                weights=weights[kept],
                full_length=len(tokens),
                special_in_content=special_in_content,
            )
        )
    return examples


def encode_prompt(
    messages: Sequence[Message], template: Template, tokenizer: Tokenizer
) -> jt.Int32[np.ndarray, " T"]:
    """Tokens after which the model answers, with the BOS that training examples have."""
    text = template.prompt(messages)
    tokens = tokenizer.encode(text).ids
    bos_id = _missing_bos(text, template, tokenizer)
    return tokens if bos_id is None else np.insert(tokens, 0, bos_id)


def stop_tokens(template: Template, tokenizer: Tokenizer) -> list[int]:
    """Tokens that end an answer: one, unless the tokenizer has no token for the template's stop text."""
    messages = (Message("user", "a"), Message("assistant", "a"))
    rendered = template.render(Conversation("", messages, "stop_tokens"))
    encoding = tokenizer.encode(rendered.text)
    classes, _ = _classify(rendered, encoding)
    return [int(token) for token in encoding.ids[classes == TokenClass.LAST_STOP]]


def _missing_bos(text: str, template: Template, tokenizer: Tokenizer) -> int | None:
    """The BOS to put in front: where the tokenizer adds one and the template has not written it."""
    if not (template.adds_bos and tokenizer.adds_bos):
        return None
    written = tokenizer.bos_text is not None and text.startswith(tokenizer.bos_text)
    return None if written else tokenizer.bos_id


def _classify(
    rendered: Rendered, encoding: Encoding
) -> tuple[jt.UInt8[np.ndarray, " T"], jt.Float32[np.ndarray, " T"]]:
    """Class and message weight of each token; one that covers no character belongs where it stands."""
    starts, _, classes, weights = (np.array(column) for column in zip(*rendered.spans, strict=True))
    first = np.searchsorted(starts, encoding.starts, side="right") - 1
    last = np.searchsorted(starts, np.maximum(encoding.ends - 1, encoding.starts), side="right") - 1
    owner = first.copy()
    for token in np.flatnonzero(last > first):
        shared = _PRIORITY[classes[first[token] : last[token] + 1]]
        owner[token] += np.argmax(shared)
    return classes[owner].astype(np.uint8), weights[owner].astype(np.float32)


def _kept(classes: jt.UInt8[np.ndarray, " T"], max_length: int, truncation: str) -> jt.Int[np.ndarray, " K"]:
    """Indices of the tokens that truncation leaves."""
    everything = np.arange(len(classes))
    excess = len(classes) - max_length
    if excess <= 0:
        return everything
    if truncation == "drop":
        return everything[:0]
    if truncation == "keep_output":
        removable = [np.flatnonzero(classes == role) for role in (TokenClass.USER, TokenClass.SYSTEM)]
        return np.delete(everything, np.concatenate(removable)[:excess])[:max_length]
    return everything[:max_length]
