"""The template of a model as Jinja source that writes the same text wherever it is rendered."""

import json
from collections.abc import Mapping

from im_jax.data.templates import Template
from im_jax.data.templates.built_in import BuiltInTemplate
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.templates.jinja_forms import jinja_form
from im_jax.data.tokenizers import Tokenizer


def source_of(template: Template, tokenizer: Tokenizer, special_tokens: Mapping[str, str]) -> str:
    """Jinja source of a template.

    Args:
        template: built in, or of a Hugging Face tokenizer, whose own source it is then.
        tokenizer: whose special tokens a built-in one writes.
        special_tokens: variables such as `eos_token`, as readers will have them; where a template of
            another tokenizer was used with others, the source sets them.
    """
    if isinstance(template, BuiltInTemplate):
        return jinja_form(template, with_bos=tokenizer.adds_bos)
    assert isinstance(template, JinjaTemplate)
    other = {
        name: text
        for name, text in template.special_tokens.items()
        if name in template.source and special_tokens.get(name) != text
    }
    lines = (
        f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n" for name, text in other.items()
    )
    return "".join(lines) + template.source
