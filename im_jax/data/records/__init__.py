"""Records become conversations, or are refused with the place, the field and the value.

Every format ends as the same `Conversation`; what a record says beside it is read, refused by name, or named
as unread, never lost in silence.
"""

from im_jax.data.records.conversation import ROLES, Conversation, Message, ToolCall
from im_jax.data.records.formats import DEFAULT_FIELDS, NameCheck
from im_jax.data.records.reader import RecordReader
from im_jax.data.records.reading import conversation_from_record, conversation_of
from im_jax.data.records.turns import DEFAULT_TURNS

__all__ = [
    "DEFAULT_FIELDS",
    "DEFAULT_TURNS",
    "ROLES",
    "Conversation",
    "Message",
    "NameCheck",
    "RecordReader",
    "ToolCall",
    "conversation_from_record",
    "conversation_of",
]
