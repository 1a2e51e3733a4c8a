"""What makes two examples the same: their texts, whatever the case and the white space."""

import hashlib
from typing import NamedTuple

from im_jax.data.records.conversation import Conversation


class Digests(NamedTuple):
    """64 bits each: of a billion different texts, two are taken for one with a chance of 3 %."""

    whole: int
    """Of all messages with their roles, thoughts and calls of tools among them, and of the tools."""
    prompt: int
    """Of what is not the assistant's."""


def digests(conversation: Conversation) -> Digests:
    """The digests of a conversation."""
    whole, prompt = hashlib.blake2b(digest_size=8), hashlib.blake2b(digest_size=8)
    for part in map(_encoded, conversation.tools):
        whole.update(part)
        prompt.update(part)
    for message in conversation.messages:
        calls = (text for call in message.tool_calls for text in (call.name, call.arguments))
        part = b"".join(map(_encoded, (message.role, message.text, message.thought, *calls)))
        whole.update(part)
        if message.role != "assistant":
            prompt.update(part)
    return Digests(*(int.from_bytes(digest.digest(), "little") for digest in (whole, prompt)))


def _encoded(text: str) -> bytes:
    return normalised(text).encode(errors="surrogatepass") + b"\0"


def normalised(text: str) -> str:
    """A text without what may differ between copies of it: case, and how much white space there is."""
    return " ".join(text.casefold().split())
