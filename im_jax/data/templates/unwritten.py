"""What a template would leave out of a conversation: refused, since answers would be learned without it."""

from typing import Final

from im_jax.data.records import Conversation
from im_jax.errors import DataError

_ADVICE: Final = "use chatml or the chat template of a model that has them, or remove them from the data"


def refuse_unwritten(conversation: Conversation, template: str) -> None:
    """Stop at tools, calls, what tools say, and thoughts: for templates that write none of them.

    Args:
        conversation: what is to be written.
        template: its name.

    Raises:
        DataError: naming the place.
    """
    messages = conversation.messages
    parts = {
        "what tools say": any(message.role == "tool" for message in messages),
        "calls of tools": any(message.tool_calls for message in messages),
        "thoughts beside an answer": any(message.thought for message in messages),
        "a list of tools": bool(conversation.tools),
    }
    for part, has in parts.items():
        if has:
            raise DataError(
                f"{conversation.origin}: the chat template {template} cannot write {part}; {_ADVICE}"
            )
