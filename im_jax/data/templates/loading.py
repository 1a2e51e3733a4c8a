"""The template that a name or a path names."""

import difflib
import pathlib

from im_jax.data.templates.built_in import BUILT_INS, Boundaries, BuiltInTemplate
from im_jax.data.templates.jinja import load_jinja_template
from im_jax.data.templates.rendering import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import DataError


def make_template(name_or_path: str, tokenizer: Tokenizer) -> Template:
    """The template that `data.template` names, for a tokenizer.

    Args:
        name_or_path: one of `config.TEMPLATES`; or a `tokenizer_config.json`, a directory with one, or
            a `.jinja` file.
        tokenizer: gives the text of BOS and EOS.

    Raises:
        DataError: there is no such template, it needs an EOS that the tokenizer has not, or it writes
            text that cannot be attributed.
    """
    if name_or_path not in BUILT_INS:
        return _template_from_file(name_or_path, tokenizer)
    if BUILT_INS[name_or_path].needs_eos and not tokenizer.eos_text:
        without = " or ".join(name for name, built_in in BUILT_INS.items() if not built_in.needs_eos)
        raise DataError(
            f"data.template={name_or_path} ends answers with the tokenizer's end-of-sequence token, "
            f"and this tokenizer has none; set --config.data.template={without}, or --config.tokenizer.path "
            f"to a tokenizer with one (eos_token in tokenizer_config.json)"
        )
    return BuiltInTemplate(name_or_path, Boundaries(tokenizer.bos_text or "", tokenizer.eos_text or ""))


def _template_from_file(path: str, tokenizer: Tokenizer) -> Template:
    file = pathlib.Path(path)
    if not (file.is_dir() or (file.is_file() and file.suffix in (".json", ".jinja"))):
        similar = difflib.get_close_matches(path, BUILT_INS, n=1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        raise DataError(
            f"data.template={path} is neither a built-in template ({', '.join(BUILT_INS)}) nor a "
            f"tokenizer_config.json, a directory with one, or a .jinja file{hint}"
        )
    return load_jinja_template(file, tokenizer)
