"""The ids that tell readers where texts begin and end."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from im_jax.data.tokenizers import Tokenizer
from im_jax.data.tokenizers.added import token_text
from im_jax.models.loaded import Model


class SpecialIds(NamedTuple):
    """Ids of special tokens, each None where there is none."""

    bos: int | None
    ends: tuple[int, ...]
    """All that end an answer: the template's stops, that of a plain answer first, then the end of a text."""
    pad: int | None

    def of_config(self) -> dict[str, Any]:
        """For config.json, where a padding id takes its row out of later training: none is made up."""
        ends = self.ends[0] if len(self.ends) == 1 else list(self.ends) or None
        return {"bos_token_id": self.bos, "eos_token_id": ends, "pad_token_id": self.pad}

    def of_generation(self) -> dict[str, Any]:
        """For generation_config.json. Ends are always a list; where no token pads, the last end does."""
        pad = self.ends[-1] if self.pad is None and self.ends else self.pad
        ids = {"bos_token_id": self.bos, "eos_token_id": list(self.ends) or None, "pad_token_id": pad}
        return {name: value for name, value in ids.items() if value is not None}


def special_ids(model: Model, config: Mapping[str, Any], more_ends: Iterable[int] = ()) -> SpecialIds:
    """The ids of a model.

    Args:
        model: whose tokenizer and template they are of.
        config: the tokenizer's, which names a padding token if there is one.
        more_ends: what ended answers before.
    """
    tokenizer = model.tokenizer
    stops = [stop[0] for stop in model.stops if len(stop) == 1]
    eos = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    ends = tuple(dict.fromkeys([*stops, *eos, *more_ends]))
    return SpecialIds(tokenizer.bos_id, ends, _id_of(token_text(config.get("pad_token")), tokenizer))


def _id_of(text: str | None, tokenizer: Tokenizer) -> int | None:
    ids = [] if text is None else tokenizer.encode(text).ids.tolist()
    return ids[0] if len(ids) == 1 else None
