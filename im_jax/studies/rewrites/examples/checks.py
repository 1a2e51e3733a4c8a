"""What the fields of `data.rewrites` must be, alone and together."""

from typing import Final

from im_jax.config import CHOICES, RewritesConfig
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.families import FAMILIES
from im_jax.studies.rewrites.examples.rules import Kind

PROGRAMS: Final = ("random", "sort")
"""Kinds of Markov programs; see `im_jax.studies.rewrites.markov.programs`."""


def check(config: RewritesConfig) -> None:
    """Raises ConfigError, naming the field, its value and what could stand there."""
    if len(set(config.alphabet)) != len(config.alphabet) or len(config.alphabet) < 2:
        raise _error("alphabet", config.alphabet, "it must be two or more letters, each once")
    if len(config.alphabet) > 256:
        raise _error("alphabet", config.alphabet, "it can have 256 letters at most")
    positive = ("num_rules", "num_examples", "left_length", "input_length", "num_test_rules")
    of_programs = ("num_programs", "program_rules", "program_letters", "step_limit")
    for name in (*positive, "num_test_examples", *of_programs):
        if getattr(config, name) < 1:
            raise _error(name, getattr(config, name), "set it to 1 or more")
    if config.right_length < 0:
        raise _error("right_length", config.right_length, "set it to 0 (rules that delete) or more")
    for name in ("num_examples", "num_test_examples"):
        if getattr(config, name) >= 2**31:
            raise _error(name, getattr(config, name), "set it below 2^31")
    if config.left_length > config.input_length:
        raise _error(
            "left_length", config.left_length, f"an input of {config.input_length} letters cannot hold it"
        )
    for name in ("no_op_fraction", "test_no_op_fraction"):
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise _error(name, value, "it is a share, from 0 to 1")
    for name in ("allocation", "unseen"):
        choices = CHOICES[f"data.rewrites.{name}"]
        if getattr(config, name) not in choices:
            raise _error(name, getattr(config, name), f"set one of {', '.join(choices)}")
    if not config.alpha > 0:
        raise _error("alpha", config.alpha, "set it above 0")
    _check_kinds(config)
    _check_programs(config)


def _check_kinds(config: RewritesConfig) -> None:
    for prefix in ("", "test_"):
        families = getattr(config, f"{prefix}families") or config.families
        for family, k in kinds_of(families, getattr(config, f"{prefix}k") or config.k):
            for name in ("left_length", "right_length"):
                if family != "free" and getattr(config, name) % k:
                    raise _error(
                        f"{prefix}k", k, f"{name} is {getattr(config, name)}, which it does not divide"
                    )


def kinds_of(families: str, k: str) -> tuple[Kind, ...]:
    """Every family with every k; free strings have no k.

    Raises:
        ConfigError: an unknown family, or a k that is no number.
    """
    names = [name.strip() for name in families.split(",")]
    for name in names:
        if name not in FAMILIES:
            raise _error("families", families, f"{name!r} is none; name some of {', '.join(FAMILIES)}")
    values = numbers_of("k", k, least=1)
    kinds = [Kind(name, value) for name in names for value in (values if name != "free" else (1,))]
    return tuple(dict.fromkeys(kinds))


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


def programs_of(text: str) -> tuple[str, ...]:
    """Kinds of programs joined by commas, each once; none of an empty text.

    Raises:
        ConfigError: an unknown kind.
    """
    kinds = [kind.strip() for kind in text.split(",")] if text else []
    for kind in kinds:
        if kind not in PROGRAMS:
            raise _error("programs", text, f"{kind!r} is none; name some of {', '.join(PROGRAMS)}")
    return tuple(dict.fromkeys(kinds))


def numbers_of(name: str, text: str, least: int = 1) -> tuple[int, ...]:
    """Whole numbers joined by commas.

    Raises:
        ConfigError: there is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and int(part) >= least for part in parts):
        raise _error(name, text, f"write whole numbers from {least} on, joined by commas")
    return tuple(int(part) for part in parts)


def _error(name: str, value: object, advice: str) -> ConfigError:
    return ConfigError(f"data.rewrites.{name}={value!r}: {advice}")
