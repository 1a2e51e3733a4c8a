"""Chat templates: a conversation becomes one text, and every character of it has a class.

Built-in templates write pieces and know the class of each (`built_in`). Templates of Hugging Face
tokenizers write only text: `jinja` gives them texts that know whose they are.
"""

from im_jax.data.templates.given import CONTENT_CLASS
from im_jax.data.templates.loading import make_template, writes_date
from im_jax.data.templates.rendering import Rendered, Span, Template

__all__ = ["CONTENT_CLASS", "Rendered", "Span", "Template", "make_template", "writes_date"]
