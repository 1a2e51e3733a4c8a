"""Traced texts: what any text does, with each character still known; beside `str` and by construction."""

import json
import random
from collections.abc import Callable

import pytest

from im_jax.data.records import Conversation, Message
from im_jax.data.templates.functions import to_json
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.templates.limits import bounded
from im_jax.data.templates.traced import Lost, Run, Traced, concat, join, traced
from im_jax.errors import DataError

SOURCE = "  <think>\nTwo and\ttwo.\n</think>\n\nFour, é\U0001f600 so: \"4\" and 'four'.\r\n  "
OPERATIONS: list[Callable[[str], object]] = [
    lambda s: s.strip(),
    lambda s: s.lstrip("\n <"),
    lambda s: s.rstrip(),
    lambda s: s.split("</think>")[-1],
    lambda s: s.split("</think>")[0],
    lambda s: s.split(),
    lambda s: s.split(None, 2),
    lambda s: s.rsplit(" ", 2),
    lambda s: s.rsplit(None, 1),
    lambda s: s.splitlines(),
    lambda s: s.splitlines(True),
    lambda s: s.partition("\n"),
    lambda s: s.rpartition("o"),
    lambda s: s.removeprefix("  <think>"),
    lambda s: s.removesuffix("  "),
    lambda s: s[3:-4],
    lambda s: s[-7:],
    lambda s: s[5],
    lambda s: s[-2],
    lambda s: list(s),
    lambda s: s.replace("\n", "|"),
    lambda s: s.replace("o", "", 2),
    lambda s: "a" + s + "b",
    lambda s: s + s[2:5],
    lambda s: s * 2,
    lambda s: "-".join([s[:4], "x", s[4:]]) if type(s) is str else join("-", [s[:4], "x", s[4:]]),
    lambda s: s.find("and"),
    lambda s: "and" in s,
    lambda s: s.startswith("  <"),
    lambda s: s == SOURCE,
    lambda s: len(s),
]


def made() -> str:
    return traced(SOURCE, (Run(0, len(SOURCE), 7, 0, len(SOURCE)),))


def check(value: object, expected: object) -> None:
    """Equal, and each character with a run is that of the source which the run says."""
    assert value == expected
    if isinstance(value, list | tuple):
        for one, other in zip(value, expected, strict=True):  # type: ignore[call-overload]
            check(one, other)
    if isinstance(value, Traced):
        end = 0
        for run in value.runs:
            assert end <= run.start <= run.end <= len(value) and run.part == 7
            assert SOURCE[run.source : run.source + run.length] == str.__str__(value)[run.start : run.end]
            end = run.end


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_an_operation_gives_what_it_gives_for_any_text(number: int) -> None:
    check(OPERATIONS[number](made()), OPERATIONS[number](SOURCE))


def test_so_do_operations_after_operations() -> None:
    choices = random.Random(0)
    for _ in range(500):
        value, expected = made(), SOURCE
        for _ in range(4):
            operation = choices.choice(OPERATIONS)
            try:
                given = operation(expected)
            except IndexError:
                continue
            found = operation(value)
            check(found, given)
            if isinstance(given, list | tuple) and given:
                found, given = found[-1], given[-1]  # type: ignore[index]
            if isinstance(given, str) and isinstance(found, str) and given:
                value, expected = found, given


def test_no_visible_character_is_lost_on_the_way() -> None:
    words = made().split()
    assert all(isinstance(word, Traced) and len(word.runs) == 1 for word in words)
    whole = concat([made().partition(",")[i] for i in (0, 1, 2)])
    assert isinstance(whole, Traced) and sum(run.length for run in whole.runs) == len(SOURCE)


@pytest.mark.parametrize("name", ["upper", "title", "capitalize", "swapcase"])
def test_what_loses_characters_says_so(name: str) -> None:
    value = getattr(made(), name)()
    assert value == getattr(SOURCE, name)() and value.runs == (Run(0, len(value), Lost(7, name), 0, 0),)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"indent": 2},
        {"separators": (",", ":")},
        {"sort_keys": True},
        {"ensure_ascii": True},
        {"indent": 0},
    ],
)
def test_json_is_that_of_python_and_its_characters_are_known(options: dict[str, object]) -> None:
    value = {"b": [made(), 1, None, {}], "a": {"x": made(), "é": [[], True, 1.5]}, "c": "plain"}
    plain = {"b": [SOURCE, 1, None, {}], "a": {"x": SOURCE, "é": [[], True, 1.5]}, "c": "plain"}
    with bounded():
        text = to_json(value, **options)  # type: ignore[arg-type]
    assert text == json.dumps(plain, **({"ensure_ascii": False} | options))  # type: ignore[arg-type]
    assert isinstance(text, Traced)
    for run in text.runs:
        source = SOURCE[run.source : run.source + run.length]
        escaped = json.dumps(source, ensure_ascii=bool(options.get("ensure_ascii")))[1:-1]
        assert str.__str__(text)[run.start : run.end] == escaped
    assert sum(run.length for run in text.runs) == 2 * len(SOURCE)


@pytest.mark.parametrize(
    ("written", "operation"),
    [
        ("'-%s' % message.content", "%"),
        ("'<{}>'.format(message.content)", "format"),
        ("'%s' | format(message.content)", "format"),
        ("message.content | title", "title"),
        ("message.content | escape", "escape"),
        ("message.content | indent(2, true)", "indent"),
        ("message.content | reverse", r"\[::\]"),
        ("(message.content | upper).strip()[2:] ~ '.'", "upper"),
    ],
)
def test_a_template_that_writes_what_it_lost_is_refused(written: str, operation: str) -> None:
    source = "{% for message in messages %}<{{ message.role }}>{{ " + written + " }}</s>{% endfor %}"
    messages = (Message("user", "so <b"), Message("assistant", "b"))
    with pytest.raises(DataError, match=f"it applies `{operation}` to the text of message 1"):
        JinjaTemplate("lossy", source, {}).render(Conversation("a", messages, "a:1"))


@pytest.mark.parametrize(
    "written",
    [
        "{% set x %}{{ message.content }}{% endset %}{{ x }}",
        "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(message.content) }}",
        "{% filter trim %}{{ message.content }}{% endfilter %}",
        "{{ [message.content] | join }}",
        "{{ ''.join([message.content]) }}",
        "{{ '@'.replace('@', message.content) }}",
        "{{ '@' | replace('@', message.content) }}",
        "{{ '' ~ message.content }}",
        "{{ message.content | default('x') | string | safe | trim }}",
        "{{ ([message] | map(attribute='content') | list)[0] }}",
        "{{ message.content if message.content | lower | length else '' }}",
        "{% for c in message.content %}{{ c }}{% endfor %}",
        "{% for part in message.content.split(' ') %}{{ part }}{{ ' ' if not loop.last }}{% endfor %}",
    ],
)
def test_ways_to_write_a_content_that_keep_whose_it_is(written: str) -> None:
    source = "{% for message in messages %}<{{ message.role }}>" + written + "</s>{% endfor %}"
    messages = (Message("user", "Why so?"), Message("assistant", "It is so."))
    rendered = JinjaTemplate("chat", source, {}).render(Conversation("a", messages, "a:1"))
    labels = [(rendered.text[s.start : s.end], s.token_class.label) for s in rendered.spans]
    assert labels == [
        ("<user>", "first_header"),
        ("Why so?", "user"),
        ("</s>", "separator"),
        ("<assistant>It is so.", "last_assistant"),
        ("</s>", "last_stop"),
    ]


@pytest.mark.parametrize(
    "loop",
    [
        "{% for m in messages %}{{ f(m) }}{% endfor %}",
        "{% for m in messages[0:] %}{{ f(m) }}{% endfor %}",
        "{% for m in (messages | list)[::-1][::-1] %}{{ f(m) }}{% endfor %}",
        "{% for m in messages if m.content %}{{ f(m) }}{% endfor %}",
        "{% for pair in [[1, messages]] %}{% for m in pair[1] %}{{ f(m) }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{{ loop.length if loop.last and false }}{{ f(m) }}{% endfor %}",
        "{% for m in messages %}{% set last = loop.last %}{{ f(m) }}{% endfor %}",
        "{% for m in messages %}{% for other in messages %}{% endfor %}{{ f(m) }}{% endfor %}",
        "{% set all %}{% for m in messages %}{{ f(m) }}{% endfor %}{% endset %}{{ all | trim }}",
        "{% macro every(x) %}{% for m in x %}{{ f(m) }}{% endfor %}{% endmacro %}{{ every(messages) }}",
        "{% for m in messages %}{% if m.role == 'user' %}{{ f(m) }}{% continue %}{% endif %}{{ f(m) }}{% endfor %}",
    ],
)
def test_ways_to_loop_over_messages_that_keep_their_turns(loop: str) -> None:
    source = (
        "{% macro f(m) %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endmacro %}" + loop
        + "{% if add_generation_prompt %}<assistant>{% endif %}"
    )  # fmt: skip
    messages = (
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
        Message("assistant", "d"),
    )
    rendered = JinjaTemplate("chat", source, {}).render(Conversation("a", messages, "a:1"))
    labels = [(rendered.text[s.start : s.end], s.token_class.label) for s in rendered.spans]
    assert labels == [
        ("<user>", "first_header"),
        ("a", "user"),
        ("</user>", "separator"),
        ("<assistant>", "header"),
        ("b", "assistant"),
        ("</assistant>", "stop"),
        ("<user>", "header"),
        ("c", "user"),
        ("</user>", "separator"),
        ("<assistant>", "header"),
        ("d", "last_assistant"),
        ("</assistant>", "last_stop"),
    ]
