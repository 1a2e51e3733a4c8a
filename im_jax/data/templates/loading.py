"""The template that a name or a path names."""

import datetime
import difflib
import pathlib

from im_jax.data.templates.built_in import BUILT_INS, Boundaries, BuiltInTemplate
from im_jax.data.templates.jinja import load_jinja_template, template_source
from im_jax.data.templates.rendering import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.stores import readable


def make_template(name_or_path: str, tokenizer: Tokenizer, date: str = "") -> Template:
    """The template that `data.template` names, for a tokenizer.

    Args:
        name_or_path: one of `config.TEMPLATES`; or a `tokenizer_config.json`, a directory with one, or
            a `.jinja` file.
        tokenizer: gives the text of BOS and EOS.
        date: what a template that writes a date takes it to be, as `data.date`; empty: today.

    Raises:
        ConfigError: the date is none.
        DataError: there is no such template, it needs an EOS that the tokenizer has not, or it writes
            text that cannot be attributed.
    """
    if name_or_path not in BUILT_INS:
        return load_jinja_template(_template_file(name_or_path), tokenizer, _time(date) if date else None)
    if BUILT_INS[name_or_path].needs_eos and not tokenizer.eos_text:
        without = " or ".join(name for name, built_in in BUILT_INS.items() if not built_in.needs_eos)
        raise DataError(
            f"data.template={name_or_path} ends answers with the tokenizer's end-of-sequence token, "
            f"and this tokenizer has none; set --config.data.template={without}, or --config.tokenizer.path "
            f"to a tokenizer with one (eos_token in tokenizer_config.json)"
        )
    return BuiltInTemplate(name_or_path, Boundaries(tokenizer.bos_text or "", tokenizer.eos_text or ""))


def writes_date(name_or_path: str) -> bool:
    """Whether the template that `data.template` names may write the date. Raises `DataError` as above."""
    if name_or_path in BUILT_INS:
        return False
    return "strftime_now" in template_source(_template_file(name_or_path))[1]


def _time(date: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(date)
    except ValueError:
        raise ConfigError(
            f"data.date={date} is no date; write it as 2026-02-03, or 2026-02-03T04:05 with a time"
        ) from None


def _template_file(path: str) -> pathlib.Path:
    file = readable(path)
    if not (file.is_dir() or (file.is_file() and file.suffix in (".json", ".jinja"))):
        similar = difflib.get_close_matches(path, BUILT_INS, n=1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        raise DataError(
            f"data.template={path} is neither a built-in template ({', '.join(BUILT_INS)}) nor a "
            f"tokenizer_config.json, a directory with one, or a .jinja file{hint}"
        )
    return file
