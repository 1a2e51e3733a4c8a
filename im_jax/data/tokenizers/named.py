"""Special tokens that a configuration names: `eos_token` and the like, and lists of more.

As in transformers, a token that is named is special and is cut out of a text, also where the vocabulary has
it among ordinary ones:

    vocabulary   a 0, <end> 1      tokenizer_config.json   {"eos_token": "<end>"}
    text         a<end>            ids                     0 1
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from im_jax.data.tokenizers.added import FLAGS, AddedToken, token_text

_ENDS: Final = ("bos_token", "eos_token")
_OTHERS: Final = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS: Final = ("additional_special_tokens", "extra_special_tokens")


def with_named(
    config: Mapping[str, Any], added: Sequence[AddedToken], own: Sequence[AddedToken], ids: Mapping[str, int]
) -> list[AddedToken]:
    """The added tokens, and those that are named.

    Args:
        config: names of special tokens.
        added: tokens that the files beside the tokenizer tell.
        own: tokens that it cuts out of texts by itself.
        ids: of its vocabulary and of the added tokens.

    Returns:
        Tokens to cut out, by id. Those of a list that have no id get the next ones, and so do padding and the
        like before them. BOS and EOS do not: without an id they are a mistake in the files.
    """
    special = {token.content for token in own if token.special}
    found = {
        token.content: token._replace(special=token.special or token.content in special) for token in added
    }
    known = {token.content: token for token in own} | found
    ids = dict(ids)
    listed = [entry for key in _LISTS for entry in _entries(config.get(key))]
    grows = any(text not in ids for text in map(token_text, listed) if text)
    for entry in (*(config.get(key) for key in (*_ENDS, *_OTHERS)), *listed):
        text = token_text(entry)
        if not text:
            continue
        if text not in ids:
            if not grows or text in [token_text(config.get(key)) for key in _ENDS]:
                continue
            ids[text] = max(ids.values()) + 1
        token = known.get(text) or AddedToken(ids[text], text, **_flags(entry))
        found[text] = token._replace(special=True)
    return sorted(found.values())


def _entries(value: object) -> Iterator[object]:
    """Tokens of a list, or of an object that gives each a name."""
    if isinstance(value, list | dict):
        yield from value.values() if isinstance(value, dict) else value


def _flags(entry: object) -> dict[str, bool]:
    told = entry if isinstance(entry, dict) else {}
    return {"normalized": False} | {name: told[name] for name in FLAGS if isinstance(told.get(name), bool)}
