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

    stop > assistant > user > tool > system > separators > headers > bos

so that contents and stops never lose a token to the template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.config import CHOICES
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates import CONTENT_CLASS, Rendered, Template
from im_jax.data.tokenizers import Encodings, Tokenizer, bounds_of
from im_jax.errors import ConfigError
from im_jax.token_classes import MAIN_CLASS_TABLE, NUM_CLASSES, OUTPUT_CLASSES, TokenClass

_BY_PRIORITY: Final = (
    TokenClass.PAD,
    TokenClass.BOS,
    TokenClass.HEADER,
    TokenClass.SEPARATOR,
    TokenClass.SYSTEM,
    TokenClass.TOOL,
    TokenClass.USER,
    TokenClass.ASSISTANT,
    TokenClass.STOP,
)
_PRIORITY: Final = np.array([_BY_PRIORITY.index(c.main) for c in TokenClass])
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
            `keep_output`: user and tool tokens go, the earliest first, then system tokens; if template and
            output alone are too long, the rest is cut from the right. `drop`: the example stays without
            tokens.

    Returns:
        One encoded example for each conversation, in order.

    Raises:
        DataError: the template cannot write or attribute a conversation.
    """
    rendered = [template.render(conversation) for conversation in conversations]
    texts = encode_rendered(rendered, template, tokenizer, max_length=max_length, truncation=truncation)
    return [texts.example(i, conversation.id) for i, conversation in enumerate(conversations)]


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """E examples in S tokens, end to end, as `encode_rendered` gives them: see `EncodedExample`."""

    tokens: jt.Int32[np.ndarray, " S"]
    classes: jt.UInt8[np.ndarray, " S"]
    weights: jt.Float32[np.ndarray, " S"]
    bounds: jt.Int64[np.ndarray, " E_plus_1"]
    """The tokens of example `i` are `bounds[i]:bounds[i + 1]`."""
    full_length: jt.Int32[np.ndarray, " E"]
    special_in_content: jt.Int32[np.ndarray, " E"]

    def example(self, index: int, name: str) -> EncodedExample:
        """One of them, under a name."""
        at = slice(int(self.bounds[index]), int(self.bounds[index + 1]))
        return EncodedExample(
            name,
            self.tokens[at],
            self.classes[at],
            self.weights[at],
            int(self.full_length[index]),
            int(self.special_in_content[index]),
        )


def encode_rendered(
    rendered: Sequence[Rendered],
    template: Template,
    tokenizer: Tokenizer,
    *,
    max_length: int,
    truncation: str = "right",
) -> EncodedTexts:
    """Tokenise, classify and truncate texts, all at once: arguments as of `encode_conversations`."""
    if truncation not in CHOICES["data.truncation"]:
        choices = ", ".join(CHOICES["data.truncation"])
        raise ConfigError(f"data.truncation={truncation}; set it to one of {choices}")
    encodings = tokenizer.encode_batch([text for text, *_ in rendered])
    classes, weights = _classify(rendered, encodings, tokenizer)
    special = np.flatnonzero(_CONTENT[classes] & _is_one_of(encodings, tokenizer.special_ids, tokenizer))
    owners = np.searchsorted(encodings.bounds, special, side="right") - 1
    starts = encodings.starts[special].tolist()
    written = [_within(at, rendered[i].own) for i, at in zip(owners.tolist(), starts, strict=True)]
    owners = owners[~np.array(written, bool)]
    without_bos = [_missing_bos(text, template, tokenizer) is not None for text, *_ in rendered]
    at = encodings.bounds[:-1][without_bos]
    bos_id = tokenizer.bos_id if tokenizer.bos_id is not None else 0
    bounds = encodings.bounds + bounds_of(without_bos)
    kept = _kept(np.insert(classes, at, TokenClass.BOS), bounds, max_length, truncation)
    return EncodedTexts(
        tokens=np.insert(encodings.ids, at, bos_id)[kept],
        classes=np.insert(classes, at, TokenClass.BOS)[kept],
        weights=np.insert(weights, at, 1.0)[kept],
        bounds=np.concatenate([[0], np.cumsum(kept)])[bounds],
        full_length=np.diff(bounds).astype(np.int32),
        special_in_content=np.bincount(owners, minlength=len(rendered)).astype(np.int32),
    )


def encode_prompt(
    messages: Sequence[Message], template: Template, tokenizer: Tokenizer, tools: Sequence[str] = ()
) -> jt.Int32[np.ndarray, " T"]:
    """Tokens after which the model answers, with the BOS that training examples have.

    Args:
        messages: the conversation so far.
        template: writes it as text.
        tokenizer: makes tokens of the text.
        tools: JSON text of each tool that may be called.

    Raises:
        DataError: the template cannot write the messages.
    """
    text = template.prompt(messages, tools)
    tokens = tokenizer.encode(text).ids
    bos_id = _missing_bos(text, template, tokenizer)
    return tokens if bos_id is None else np.insert(tokens, 0, bos_id)


def _missing_bos(text: str, template: Template, tokenizer: Tokenizer) -> int | None:
    """The BOS to put in front: where the tokenizer adds one and the template has not written it."""
    if not (template.adds_bos and tokenizer.adds_bos):
        return None
    written = tokenizer.bos_text is not None and text.startswith(tokenizer.bos_text)
    return None if written else tokenizer.bos_id


def _is_one_of(encodings: Encodings, ids: frozenset[int], tokenizer: Tokenizer) -> jt.Bool[np.ndarray, " S"]:
    """Of each token, whether it has one of these ids."""
    table = np.zeros(tokenizer.vocab_size, bool)
    table[sorted(ids)] = True
    return table[encodings.ids]


def _within(at: int, parts: Sequence[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in parts)


def _classify(
    rendered: Sequence[Rendered], encodings: Encodings, tokenizer: Tokenizer
) -> tuple[jt.UInt8[np.ndarray, " S"], jt.Float32[np.ndarray, " S"]]:
    """Class and message weight of each token; one that covers no character belongs where it stands."""
    starts, ends, classes, weights = _columns(rendered)
    last_of_text = bounds_of(len(spans) for _, spans, *_ in rendered)[1:] - 1
    characters = ends - starts
    characters[last_of_text] += 1  # a token that covers nothing may stand at the end
    span_of = np.repeat(np.arange(len(starts)), characters)
    shift = np.repeat(bounds_of(len(text) + 1 for text, *_ in rendered)[:-1], np.diff(encodings.bounds))
    begins, stops = _own_characters(rendered, encodings, tokenizer)
    first = span_of[shift + begins]
    last = span_of[shift + np.maximum(stops - 1, begins)]
    owner, rank = first.copy(), _PRIORITY[classes]
    for step in range(1, int((last - first).max(initial=0)) + 1):
        shared = np.flatnonzero(last - first >= step)
        candidate = first[shared] + step
        better = rank[candidate] > rank[owner[shared]]
        owner[shared[better]] = candidate[better]
    return classes[owner], weights[owner]


def _own_characters(
    rendered: Sequence[Rendered], encodings: Encodings, tokenizer: Tokenizer
) -> tuple[jt.Int32[np.ndarray, " S"], jt.Int32[np.ndarray, " S"]]:
    """Where tokens start and end; those that swallow white space around them without it.

    Some tokenizers take the spaces before or behind an added token as part of it. They may be of a content;
    the token is not.
    """
    starts, ends = encodings.starts, encodings.ends
    trimming = np.flatnonzero(_is_one_of(encodings, tokenizer.trimming_ids, tokenizer))
    moved = []
    texts = np.searchsorted(encodings.bounds, trimming, side="right") - 1
    for token, index in zip(trimming.tolist(), texts.tolist(), strict=True):
        text = rendered[index].text[starts[token] : ends[token]]
        own = text.strip()
        if own and own != text:
            before = len(text) - len(text.lstrip())
            moved.append((token, starts[token] + before, starts[token] + before + len(own)))
    if not moved:
        return starts, ends
    starts, ends = starts.copy(), ends.copy()
    at, begins, stops = zip(*moved, strict=True)
    starts[list(at)], ends[list(at)] = begins, stops
    return starts, ends


def _columns(
    rendered: Sequence[Rendered],
) -> tuple[
    jt.Int64[np.ndarray, " P"],
    jt.Int64[np.ndarray, " P"],
    jt.UInt8[np.ndarray, " P"],
    jt.Float32[np.ndarray, " P"],
]:
    """The spans of all texts: first character, the one after the last, class and weight."""
    spans = [span for _, of_text, *_ in rendered for span in of_text]
    starts, ends, classes, weights = zip(*spans, strict=True) if spans else ((), (), (), ())
    return (
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.array(classes, np.uint8),
        np.array(weights, np.float32),
    )


def _kept(
    classes: jt.UInt8[np.ndarray, " S"],
    bounds: jt.Int64[np.ndarray, " E_plus_1"],
    max_length: int,
    truncation: str,
) -> jt.Bool[np.ndarray, " S"]:
    """Which tokens truncation leaves."""
    kept = np.ones(len(classes), bool)
    for index in np.flatnonzero(np.diff(bounds) > max_length).tolist():
        start, end = int(bounds[index]), int(bounds[index + 1])
        if truncation == "drop":
            kept[start:end] = False
        elif truncation == "keep_output":
            of_example = classes[start:end]
            read = np.isin(of_example, (TokenClass.USER, TokenClass.TOOL))
            in_order = np.concatenate([np.flatnonzero(read), np.flatnonzero(of_example == TokenClass.SYSTEM)])
            removed = in_order[: end - start - max_length]
            kept[start + removed] = False
            kept[start:end] &= np.cumsum(kept[start:end]) <= max_length
        else:
            kept[start + max_length : end] = False
    return kept
