"""Text of others as each kind of reader is shown it."""

import html.parser
import json
import unicodedata

import pytest

from im_jax.text import as_code, as_html, as_json, as_markdown, in_one_line, plain, storable

STEERING = "\x1b[31mred\x1b]0;title\x07 \x9b2J \r\b\x7f \u202eback \u2066\u2028 \ud800"


def test_nothing_that_steers_a_terminal_is_left() -> None:
    shown = plain(STEERING)
    assert shown.startswith(r"\x1b[31mred\x1b]0;title\x07 \x9b2J \r\x08\x7f \u202eback")
    assert {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "text", ["runs[old]/[/x]", ":smile: ½ ± →", "日本語　全角", "a\tb\nc", "👩‍👧 می‌خواهم", "a\u00a0b", ""]
)
def test_what_readers_read_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_one_line_is_one_line() -> None:
    assert in_one_line("a\r\n  b\u2028c\x1b\td ") == r"a b c\x1b d"


def test_a_page_holds_no_markup_of_others() -> None:
    read: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            read.extend([tag, *(value or "" for _, value in attrs)])

        def handle_data(self, data: str) -> None:
            read.append(data)

    nasty = """</p><script>alert("1")</script>'&amp;"""
    reader = Reader(convert_charrefs=True)
    reader.feed(f'<p title="{as_html(nasty)}">{as_html(nasty)}')
    reader.close()
    assert read == ["p", nasty, nasty]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("[a](b) *c* _d_ `e` ~~f~~ $g$", r"\[a\](b) \*c\* \_d\_ \`e\` \~\~f\~\~ \$g\$"),
        ("it_released in loss_of_answers", "it_released in loss_of_answers"),
        ("a\nb\x1b", r"a b\\x1b"),
        (r"a\|b &amp;", r"a\\|b &amp;amp;"),
    ],
)
def test_markdown_of_others_is_text(text: str, shown: str) -> None:
    assert as_markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a=1", "`a=1`"), ("a`b", "``a`b``"), ("``a", "``` ``a ```"), ("", "`  `"), ("<b>", "`<b>`")],
)
def test_code_ends_where_it_should(text: str, shown: str) -> None:
    assert as_code(text) == shown


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_the_same_record_in_every_encoding_and_steers_nothing(encoding: str) -> None:
    record = {"text": STEERING + " é→日本🙂"}
    line = as_json(record, encoding)
    assert json.loads(line.encode(encoding)) == record
    assert line.isprintable()
    assert ("日本🙂" in line) == (encoding == "utf-8")


def test_characters_that_an_encoding_lacks_are_escapes() -> None:
    assert storable("a→é", "ascii") == r"a\u2192\xe9"
    assert storable("a→é", "latin-1") == r"a\u2192é"
    assert storable("a→é", None) == "a→é"
