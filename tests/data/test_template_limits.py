"""A chat template may neither hang nor fill the memory: it is refused with the reason, in little time."""

import threading
import time
import tracemalloc

import pytest

from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates import limits
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.errors import DataError

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DOUBLE = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = "
ATTACKS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "nested loops without text": "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "a power": "{{ 10**(10**9) }}",
    "powers of powers": "{% set ns = namespace(x=7) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "a long text": "{% set x = 'a' * 10**10 %}",
    "a long text from the other side": "{% set x = 10**10 * 'a' %}",
    "a long list": "{% set x = [1] * 10**10 %}",
    "a long constant": "{{ 'a' * 10**10 }}",
    "texts joined by +": DOUBLE + "ns.x + ns.x %}{% endfor %}",
    "texts joined by ~": DOUBLE + "ns.x ~ ns.x %}{% endfor %}",
    "texts joined by join": DOUBLE + "[ns.x, ns.x] | join %}{% endfor %}",
    "texts joined by a method": DOUBLE + "''.join([ns.x, ns.x]) %}{% endfor %}",
    "texts joined by format": DOUBLE + "'{}{}'.format(ns.x, ns.x) %}{% endfor %}",
    "texts joined by %": DOUBLE + "'%s%s' % (ns.x, ns.x) %}{% endfor %}",
    "texts joined by the filter format": DOUBLE + "'%s%s' | format(ns.x, ns.x) %}{% endfor %}",
    "replacing": DOUBLE + "ns.x.replace('a', 'aaaa') %}{% endfor %}",
    "the filter replace": DOUBLE + "ns.x | replace('a', 'aaaa') %}{% endfor %}",
    "lists in lists": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
    "{% endfor %}{{ ns.x }}",
    "tuples in tuples": "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}"
    "{% endfor %}{{ ns.x == ns.x }}",
    "objects in objects": "{% set ns = namespace(x={}) %}{% for i in range(60) %}"
    "{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x | tojson }}",
    "dict in dict": "{% set ns = namespace(x={}) %}{% for i in range(60) %}{% set ns.x = dict(a=ns.x, b=ns.x) %}"
    "{% endfor %}{{ ns.x | tojson }}",
    "a width": "{{ '%099999999d' % 1 }}",
    "a width that is given": "{{ '%*d' % (999999999, 1) }}",
    "a width of a method": "{{ '{:>999999999}'.format('a') }}",
    "a width in a map": "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
    "a width given to a method": "{{ '{:>{}}'.format('a', 999999999) }}",
    "the filter center": "{{ 'a' | center(10**9) }}",
    "the filter indent": "{{ 'a\\nb' | indent(10**9) }}",
    "the filter batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "the filter slice": "{{ [1] | slice(10**9) | list }}",
    "the filter round": "{{ 1.5 | round(10**9, 'ceil') }}",
    "the filter tojson": "{{ {'a': [1, 2]} | tojson(indent=10**9) }}",
    "the filter map": "{{ range(99999) | map('string') | map('center', 9999) | list | length }}",
    "a sum of lists": "{{ range(99999) | map('list') | sum(start=[]) }}",
    "a date": "{{ strftime_now('%0999999999d') }}",
    "methods of texts": "{{ 'a'.ljust(10**10) }}",
    "methods of numbers": "{{ (1).to_bytes(10**10, 'big') }}",
    "zeros in front": "{{ '1'.zfill(10**10) }}",
    "tabs": "{{ '\\t\\t'.expandtabs(10**9) }}",
    "words without meaning": "{{ lipsum(n=10**7) }}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "macros that write": "{% macro f(n) %}"
    + "x" * 1000
    + "{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% endif %}{% endmacro %}"
    "{% set x = f(60) %}",
    "a loop that calls itself": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a loop that calls itself twice": "{% for i in range(9) recursive %}{{ loop(range(9)) if loop.depth < 30 }}{% endfor %}",
    "writing without end": "{% for i in range(99999) %}" + "x" * 10_000 + "{% endfor %}",
    "writing into a variable": "{% set x %}{% for i in range(99999) %}"
    + "x" * 10_000
    + "{% endfor %}{% endset %}",
    "a comparison in a loop": "{% set x = range(99999) | list %}{% for i in range(99999) %}"
    "{% if -1 in x %}{% endif %}{% endfor %}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "blocks": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "loops in loops": "{% for i in [1] %}" * 200 + "{% endfor %}" * 200,
    "digits": "{{ " + "9" * 10_000 + " }}",
    "a long source": "x" * 2_000_000,
}


def refusal(source: str) -> str:
    with pytest.raises(DataError) as caught:
        JinjaTemplate("attack.jinja", source + CHAT, {"eos_token": "</s>"})
    message = str(caught.value)
    assert "the chat template attack.jinja" in message and message.isprintable() and len(message) < 600
    return message


@pytest.mark.parametrize("name", ATTACKS)
def test_a_template_without_bounds_is_refused_in_little_time_and_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_STEPS", 30_000)  # the rest would only take longer
    tracemalloc.start()
    began = time.thread_time()
    try:
        refusal(ATTACKS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < 30  # tracing memory makes it some four times as slow
    assert peak < 500e6


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nested loops", "takes more than 300,000 steps on messages of user, assistant; use a template"),
        ("a power", "makes a number of more than"),
        ("a long text", "makes a text of more than 16 million characters"),
        ("writing without end", "writes more than 64 million characters"),
        ("a macro that calls itself", "calls itself more than 100 deep"),
        ("lists in lists", "takes more than 300,000 steps"),
        ("loops in loops", "cannot be compiled: it nests more than 40 blocks"),
        ("blocks", "cannot be compiled: "),
        ("a long source", "is of more than 1,048,576 characters"),
    ],
)
def test_the_reason_is_said(name: str, reason: str) -> None:
    assert reason in refusal(ATTACKS[name])


def test_limits_hold_off_the_main_thread() -> None:
    messages: list[str] = []
    threads = [
        threading.Thread(target=lambda: messages.append(refusal(ATTACKS["nested loops"]))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages) == 2


def test_escape_sequences_of_a_template_are_shown_and_not_sent() -> None:
    message = refusal("{{ raise_exception('\\u001b[2J\\u001b]0;x\\u0007\\nred' + 'a' * 5000) }}")
    assert "\\x1b[2J\\x1b]0;x\\x07 red" in message and message.count("a" * 300) == 0


def test_long_conversations_are_within_the_limits() -> None:
    turns = [Message("user", "Why? " * 2000), Message("assistant", "So. " * 2000)] * 60
    template = JinjaTemplate("chat.jinja", CHAT, {"eos_token": "</s>"})
    rendered = template.render(Conversation("a", tuple(turns), "a"))
    assert len(rendered.text) > 800_000


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("'%05d|%s' % (42, 'a')", "00042|a"),
        ("'{}-{:>5}'.format(70000, 'a')", "70000-    a"),
        ("2 ** 10 * 3 + 1", "3073"),
        ("'ab' * 3 ~ 1 ~ [1, 'x']", "ababab1[1, 'x']"),
        ("['a', 'b'] | join('-')", "a-b"),
        ("', '.join(messages | map(attribute='role'))", "user, assistant"),
        ("'a.b'.replace('.', '--')", "a--b"),
        ("{'a': [1, {'b': none}]} | tojson(indent=1)", '{\n "a": [\n  1,\n  {\n   "b": null\n  }\n ]\n}'),
        ("[1, 2.5] | sum", "3.5"),
        ("'a\nb' | indent(2)", "a\n  b"),
        ("(1, 2)[0] ~ [[3]][0][0]", "13"),
        ("messages[1:] | length ~ messages[::-1][0].role", "1assistant"),
        ("'abc' | center(7)", "  abc  "),
        ("[3, 1] | sort | first", "1"),
        ("dict(a=1).items() | list", "[('a', 1)]"),
    ],
)
def test_what_templates_use_gives_what_jinja_gives(expression: str, written: str) -> None:
    source = "{% set n = " + expression + " %}{{ n if messages[0].content | length == 3 }}" + CHAT
    template = JinjaTemplate("used.jinja", source, {"eos_token": "</s>"})
    prompt = template.prompt([Message("user", "abc"), Message("assistant", "x")])
    assert prompt.startswith(f"{written}<|user|>abc")


def test_loops_know_their_length_and_recursive_ones_descend() -> None:
    source = (
        "{% for i in [1, 2] %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %} "
        "{% for i in [[1, [2]], [[3]]] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %} "
        "{% for a, b in {'x': 1}.items() if b %}{{ a }}{% else %}none{% endfor %} "
        "{% for i in [] %}{% else %}none{% endfor %}"
    )
    prompt = JinjaTemplate("loops.jinja", source + CHAT, {"eos_token": "</s>"}).prompt([Message("user", "a")])
    assert prompt.startswith("1/2,2/2 123 x none<|user|>")
