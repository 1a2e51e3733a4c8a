"""Templates that write the date: one for a run, whichever day it is resumed on."""

import datetime
from pathlib import Path

import pytest

from im_jax.data.records import Message
from im_jax.data.templates import make_template, writes_date
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.errors import ConfigError

TOKENIZER = ByteTokenizer()
CLOCK = (
    "{% for m in messages %}{% if loop.first %}Now: {{ strftime_now('%d %b %Y %H:%M') }}\n{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}{{ eos_token if m.role == 'assistant' }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def clock(tmp_path: Path) -> str:
    (tmp_path / "clock.jinja").write_text(CLOCK)
    return str(tmp_path / "clock.jinja")


@pytest.mark.parametrize(
    ("date", "written"), [("2026-02-03", "03 Feb 2026 00:00"), ("2026-02-03T04:05", "03 Feb 2026 04:05")]
)
def test_the_date_is_that_of_the_configuration(clock: str, date: str, written: str) -> None:
    prompt = make_template(clock, TOKENIZER, date).prompt([Message("user", "a")])
    assert prompt == f"Now: {written}\n<|user|>a\n<|assistant|>"


def test_without_one_it_is_today(clock: str) -> None:
    prompt = make_template(clock, TOKENIZER).prompt([Message("user", "a")])
    assert f"{datetime.date.today():%d %b %Y}" in prompt


def test_what_is_no_date_is_refused(clock: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.date=yesterday is no date; write it as 2026-02-03"):
        make_template(clock, TOKENIZER, "yesterday")


def test_which_templates_write_dates(clock: str) -> None:
    assert writes_date(clock)
    assert not writes_date("chatml")
