"""What the fields of `data.rewrites` must be together, and how those are read that hold several values."""

import string
from typing import Final

from im_jax.config.checks import check_fields
from im_jax.config.rewrites import RewritesConfig
from im_jax.errors import ConfigError

PROMPT_FIELDS: Final = ("left", "right", "input")
"""What a prompt is filled in with; the answer depends on all of it."""
_MOST_LETTERS: Final = 256


def check_rewrites(config: RewritesConfig) -> None:
    """Check all that is known before a rule is drawn.

    Raises:
        ConfigError: names the field, its value and what could stand there.
    """
    check_fields(config, "data.rewrites.")
    if len(set(config.alphabet)) != len(config.alphabet) or len(config.alphabet) < 2:
        raise _error("alphabet", config.alphabet, "it must be two or more letters, each once")
    if len(config.alphabet) > _MOST_LETTERS:
        raise _error("alphabet", config.alphabet, f"it can have {_MOST_LETTERS} letters at most")
    if config.left_length > config.input_length:
        raise _error(
            "left_length", config.left_length, f"an input of {config.input_length} letters cannot hold it"
        )
    for name in ("occurrences", "test_occurrences"):
        numbers_of(name, getattr(config, name) or config.occurrences)
    check_prompt(config.prompt)
    _check_families(config)
    _check_programs(config)


def check_prompt(prompt: str) -> None:
    """Stop unless a prompt tells all that the answer depends on.

    Raises:
        ConfigError: it is no format string, or a field is unknown or missing.
    """
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError as error:
        raise ConfigError(f"data.rewrites.prompt={prompt!r}: {error}; write {{{{ for a brace") from error
    names = [name for _, name, _, _ in parts if name is not None]
    plain = all(not spec and not conversion for _, _, spec, conversion in parts)
    if not plain or not set(names) <= set(PROMPT_FIELDS):
        raise ConfigError(
            f"data.rewrites.prompt={prompt!r} can have {{left}}, {{right}} and {{input}} as its fields"
        )
    if missing := [name for name in PROMPT_FIELDS if name not in names]:
        raise ConfigError(
            f"data.rewrites.prompt={prompt!r} leaves out {{{missing[0]}}}, which the answer needs; add it"
        )


def families_of(families: str, k: str, prefix: str = "") -> tuple[tuple[str, int], ...]:
    """Every family with every k, each once; free strings have no k, and 1 stands for it.

    Args:
        families: names joined by commas, all of them known.
        k: numbers joined by commas.
        prefix: of the names of these fields, for errors: `test_` or nothing.

    Raises:
        ConfigError: a k is no number.
    """
    names = [name.strip() for name in families.split(",")]
    values = numbers_of(f"{prefix}k", k)
    pairs = [(name, value) for name in names for value in (values if name != "free" else (1,))]
    return tuple(dict.fromkeys(pairs))


def programs_of(programs: str) -> tuple[str, ...]:
    """Kinds of programs joined by commas, each once; none of an empty text."""
    kinds = [kind.strip() for kind in programs.split(",")] if programs else []
    return tuple(dict.fromkeys(kinds))


def numbers_of(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers from 1 on, joined by commas.

    Raises:
        ConfigError: there is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and int(part) >= 1 for part in parts):
        raise _error(name, text, "write whole numbers from 1 on, joined by commas")
    return tuple(int(part) for part in parts)


def _check_families(config: RewritesConfig) -> None:
    """Stop unless both sides of a rule can be cut into as many parts as its family needs."""
    for prefix in ("", "test_"):
        families = getattr(config, f"{prefix}families") or config.families
        for family, k in families_of(families, getattr(config, f"{prefix}k") or config.k, prefix):
            for name in ("left_length", "right_length"):
                if family != "free" and getattr(config, name) % k:
                    raise _error(
                        f"{prefix}k", k, f"{name} is {getattr(config, name)}, which it does not divide"
                    )


def _check_programs(config: RewritesConfig) -> None:
    """What programs need that are run at all: strings that keep their length, and rules enough."""
    kinds, letters = programs_of(config.programs), config.program_letters
    if not kinds:
        return
    if config.right_length != config.left_length:
        raise _error(
            "right_length",
            config.right_length,
            f"programs={config.programs!r} need strings that keep the length that the model is trained on; "
            f"set it to left_length, {config.left_length}, or programs to ''",
        )
    if not 2 <= letters <= len(config.alphabet):
        raise _error(
            "program_letters", letters, f"set it from 2 to {len(config.alphabet)}, the size of the alphabet"
        )
    if "random" in kinds and config.program_rules > letters**config.left_length:
        raise _error(
            "program_rules",
            config.program_rules,
            f"there are only {letters**config.left_length} left sides of {config.left_length} letters out of "
            f"{letters}; lower it, or raise program_letters",
        )
    if "sort" in kinds and config.left_length != 2:
        raise _error(
            "left_length",
            config.left_length,
            "programs that sort have rules of 2 letters; set left_length and right_length to 2, or leave "
            "sort out of programs",
        )


def _error(name: str, value: object, advice: str) -> ConfigError:
    return ConfigError(f"data.rewrites.{name}={value!r}: {advice}")
