"""What would break a reader of an exported model, told before anything is written."""

from im_jax.data.templates import Template
from im_jax.errors import ConfigError
from im_jax.models.export.special_ids import SpecialIds
from im_jax.models.loaded import Model


def check_readable(model: Model, ids: SpecialIds) -> list[str]:
    """What readers will miss, a line each.

    Raises:
        ConfigError: they would fail.
    """
    rows, tokens = model.config.vocab_size, model.tokenizer.vocab_size
    assert isinstance(rows, int)
    if tokens > rows or (ids.pad or 0) >= rows:
        raise ConfigError(
            f"the model has an embedding of {rows} rows, and its tokenizer {tokens} tokens: readers would "
            "look for rows that are not there; set --config.tokenizer.path to the one it was trained with"
        )
    return [*_template_notes(model.template), *_end_notes(model, ids)]


def _template_notes(template: Template | None) -> list[str]:
    if template is not None:
        return []
    return [
        "there is no chat template, so that readers only continue text; set --config.data.template if the "
        "model was trained with one"
    ]


def _end_notes(model: Model, ids: SpecialIds) -> list[str]:
    notes = [
        f"answers end with {model.tokenizer.decode(stop, skip_special=False)!r}, which is {len(stop)} "
        "tokens; readers end at single ones: give them that text as a stop string"
        for stop in model.stops
        if len(stop) > 1
    ]
    if not ids.ends:
        notes.append("no token ends an answer: the tokenizer has no end of a text, and readers will not stop")
    return notes
