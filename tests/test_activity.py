"""Signs of life: a bar on a terminal, and a line in a log only for what takes long."""

import io
import re
import time

import pytest

from im_jax import activity
from im_jax.activity import Unit
from im_jax.console import Console
from im_jax.data.prepare import prepare
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import make_policy
from tests.training.tiny import tiny_config


def wait_for(said: str, text: io.StringIO) -> None:
    until = time.monotonic() + 60
    while said not in text.getvalue() and time.monotonic() < until:
        time.sleep(0.01)


def test_log_has_a_line_for_long_work_and_none_for_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "_FIRST_SECONDS", 0.2)
    text = io.StringIO()
    doing = activity.on_console(Console(file=text))
    with doing("reading examples"):
        pass
    with doing("encoding 7,473 examples", 7473) as advance:
        advance(1000)
        advance(200)
        wait_for("\n", text)
    assert re.fullmatch(r"encoding 7,473 examples, 1,200 of them so far \(\d+ s\)\n", text.getvalue())


def test_bytes_are_told_as_sizes_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "_FIRST_SECONDS", 0.2)
    for options, said in (
        ({}, "encoding examples, 25% so far ("),
        ({"force_terminal": True}, "1.0/4.0 MB"),
    ):
        text = io.StringIO()
        doing = activity.on_console(Console(file=text, width=80, **options))
        with doing("encoding examples", 4_000_000, Unit.BYTES) as advance:
            advance(1_000_000)
            wait_for(said, text)
        assert said in text.getvalue()


def test_terminal_shows_what_is_done_and_is_clean_afterwards() -> None:
    text = io.StringIO()
    doing = activity.on_console(Console(file=text, force_terminal=True, width=80))
    with doing("encoding 10 examples", 10) as advance:
        advance(4)
    shown = text.getvalue()
    assert "encoding 10 examples" in shown and "4/10" in shown
    assert shown.endswith("\x1b[1A\x1b[2K"), "the bar's line is erased"


def test_data_is_prepared_with_signs_of_life() -> None:
    config, seen = tiny_config(), []

    def doing(what: str, total: int | None = None, unit: Unit = Unit.THINGS):  # type: ignore[no-untyped-def]
        seen.append((what, total))
        return activity.silent(what, total, unit)

    prepare(config, make_tokenizer("bytes"), make_policy(config.loss).table(), doing)
    assert seen == [("reading examples", None), ("encoding 64 examples", 64)]
