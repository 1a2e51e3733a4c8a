r"""Where a text may be cut so that a `tokenizer.json` tokenises each part as it does the whole.

Tokenizers of bytes cut a text into pieces by a regular expression, and no token covers two of them. The usual
expressions take a space into a piece only at its front, or among other white space. So no piece reaches over

    one space between two visible characters of ASCII:   "Hello,| world!\nHow| are  you"

and none looks further than its own end, but for white space at what follows it.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import tokenizers

_WITH_ENDING: Final = ("(?i:'s", "'t", "'re", "'ve", "'m", "'ll")
_SAFE: Final = frozenset(
    [
        *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),  # GPT-2
        *(r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+", r"\s+(?!\S)", r"\s+"),
        *(*_WITH_ENDING, "'d)"),  # GPT-4, Llama 3, Qwen, OLMo, GLM
        *(r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{N}", r"\p{N}{1,2}", r"\p{N}{1,3}"),
        *(r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s*[\r\n]"),
        *(r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"),  # Qwen 3.5
        *(  # GPT-4o, GPT-OSS, Phi-4-mini, Mistral Nemo
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s",
            r"'d)?",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        ),
        *(  # DeepSeek
            "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{",
            r"}~][A-Za-z]+",
            r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
            r" ?[\p{P}\p{S}]+[\r\n]*",
        ),
    ]
)
"""Parts of regular expressions, cut at `|`, of tokenizers in use; texts of any other are not cut."""


def words_alone(tokenizer: tokenizers.Tokenizer) -> re.Pattern[str] | None:
    """The words of a text, each of which is tokenised by itself as in the text; None: there is no saying so.

    Args:
        tokenizer: without a post-processor.

    Returns:
        Its matches, end to end, are the text.
    """
    model, normalizer = tokenizer.model, _state(tokenizer.normalizer)
    if not isinstance(model, tokenizers.models.BPE) or model.dropout:
        return None
    if not _is_nfc(normalizer) or not _cuts_safely(_state(tokenizer.pre_tokenizer)):
        return None
    added = tokenizer.get_added_tokens_decoder().values()
    # A token that takes the white space behind it would take the next word's.
    reaching = {token.content[-1:] for token in added if token.rstrip}
    words = _words("".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in reaching))
    return None if any(len(words.findall(token.content)) > 1 for token in added) else words


def _words(before: str) -> re.Pattern[str]:
    """Words that end with one of the characters `before`, and begin with a space and a visible character."""
    return re.compile(rf" ?(?:[^ ]+|(?<![{re.escape(before)}]) | (?![!-~]))+")


def _state(part: Any) -> dict[str, Any]:
    """A part of a tokenizer as `tokenizer.json` writes it."""
    state: dict[str, Any] = {} if part is None else json.loads(part.__getstate__())
    return state


def _is_nfc(normalizer: dict[str, Any]) -> bool:
    """Whether nothing but NFC is done to a text, which never joins a space to what is beside it."""
    parts = normalizer.get("normalizers", [normalizer] if normalizer else [])
    return all(part.get("type") == "NFC" for part in parts)


def _cuts_safely(state: dict[str, Any]) -> bool:
    parts: Iterable[dict[str, Any]] = state.get("pretokenizers", [state])
    return bool(state) and all(_is_safe(part) for part in parts)


def _is_safe(part: dict[str, Any]) -> bool:
    match part:
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return True
        case {"type": "Digits"}:
            return True
        case {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}:
            return all(alternative in _SAFE for alternative in regex.split("|"))
    return False
