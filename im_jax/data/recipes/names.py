"""Conversations that name a model or its maker, which Tülu V2 leaves out."""

from typing import Final

from im_jax.data.recipes.recipe import Fields, LeftOut

NAMES: Final = (
    *("OpenAI", "Open AI", "ChatGPT", "Chat GPT"),
    *("GPT-3", "GPT3", "GPT 3", "GPT-4", "GPT4", "GPT 4", "GPT-3.5", "GPT3.5", "GPT 3.5"),
    *("BingChat", "Bing Chat", "BARD", "Palm", "Anthropic", "Claude"),
    *("LAION", "Open Assistant", "OpenAssistant"),
)
"""Found anywhere in a text, whatever the case: `palm` and `bard` hit plain words too, as they do there."""
_LOWER: Final = tuple(name.lower() for name in NAMES)


def without_names(record: Fields, number: int) -> Fields | LeftOut:
    """The record, unless a message holds one of the names."""
    turns = record.get("messages")
    texts = (
        [turn.get("content") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    )
    texts += [record.get(name) for name in ("system", "instruction", "input", "output")]
    for text in texts:
        if isinstance(text, str) and any(name in text.lower() for name in _LOWER):
            return LeftOut("names a model or its maker")
    return record
