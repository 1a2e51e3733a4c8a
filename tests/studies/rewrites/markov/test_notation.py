"""Markov programs as text: what lines mean, and what is said of those that mean nothing."""
# ruff: noqa: RUF001  (the programs are in their authors' Greek letters)

import random
import re
from pathlib import Path

import pytest

from im_jax.errors import DataError
from im_jax.studies.rewrites.markov import notation
from im_jax.studies.rewrites.markov.program import Program, Rule
from tests.studies.rewrites.markov.markov_programs import random_text


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("x -> y", Rule("x", "y")),
        ("x → y", Rule("x", "y")),
        ("x→y", Rule("x", "y")),
        ("\t x->y \r", Rule("x", "y")),
        ("x → · y", Rule("x", "y", True)),
        ("x →· y", Rule("x", "y", True)),
        ("x -> .y", Rule("x", "y", True)),
        ("x -> . y", Rule("x", "y", True)),
        ("x->.", Rule("x", "", True)),
        ("→·", Rule("", "", True)),
        ("->", Rule("", "")),
        ("x ->", Rule("x", "")),
        ("-> y", Rule("", "y")),
        ("the shop -> my  brother", Rule("the shop", "my  brother")),
        ("a- -> >b", Rule("a-", ">b")),
        (".a. -> b.·", Rule(".a.", "b.·")),
        (r"\n -> \\", Rule(r"\n", r"\\")),
        ('a# ->#b# # a comment -> with an arrow and one "', Rule("a#", "#b#")),
        ('x -> "" # nothing', Rule("x", "")),
        ("x -> # nothing", Rule("x", "")),
        ("x → · # nothing, and halt", Rule("x", "", True)),
        ('" a " -> "\\"\\\\\\n\\u03b1" # nothing', Rule(" a ", '"\\\nα')),
        ('"->"->"→"', Rule("->", "→")),
        ('"#" -> ."."', Rule("#", ".", True)),
        ('"# a" -> · "· b"', Rule("# a", "· b", True)),
        ('"a\tb" -> 😀', Rule("a\tb", "😀")),
    ],
)
def test_lines_mean_rules(line: str, rule: Rule) -> None:
    assert notation.parse(line) == Program([rule])


def test_comments_and_blank_lines_are_no_rules_and_line_ends_may_be_of_any_system() -> None:
    text = "# first\r\n\r\n  # -> indented\rx -> y\n\t\n  z ->"
    assert notation.parse(text) == Program([Rule("x", "y"), Rule("z", "")])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x y", "no arrow; write LEFT -> RIGHT"),
        ("x => y", "no arrow; write LEFT -> RIGHT"),
        ('"x -> y"', "no arrow outside quotes"),
        ("x # y -> z", "a # after a space begins a comment"),
        ("x -> y -> z", '2 arrows; put a side that holds an arrow in double quotes, as in "->"'),
        ("x → y ->", "2 arrows"),
        ('x -> "y', r'a double quote without its pair; write the side as "...", and a quote in it as \"'),
        ('say" -> y', "a double quote without its pair"),
        ('x -> y "z"', "text beside a quoted string; put the whole side in one pair of double quotes"),
        ('"x" "y" -> z', "text beside a quoted string"),
        (r'x -> "\d"', r'"\d" is no JSON string (Invalid \escape); write \\ for a backslash'),
        (r'x -> "\u12"', "is no JSON string"),
        (r'x -> "\ud800"', "the right side '\\ud800' of a rule has half of a surrogate pair"),
        ("x -> #", 'write "#" for the character, "" for nothing'),
        ("x -> #y", 'write "#" for the character, "" for nothing'),
        ("x -> . #", 'write "#" for the character, "" for nothing'),
        ("x -> ..", 'two dots after the arrow; put a right side that begins with a dot in quotes: "."'),
        ("x → · .y", "two dots after the arrow"),
    ],
)
def test_malformed_lines_are_told_by_file_number_text_and_remedy(
    tmp_path: Path, line: str, said: str
) -> None:
    path = tmp_path / "rules.txt"
    path.write_text(f"# rules\na -> b\n{line}\nc -> d\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        notation.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: ") and message.endswith(f", in: {line}")
    assert said in message


def test_errors_show_lines_that_cannot_be_printed_or_are_long_in_one_short_line() -> None:
    with pytest.raises(
        DataError,
        match=re.escape(
            r'program:1: no arrow; write LEFT -> RIGHT, or # in front of a comment, in: "\u001b[2J"'
        ),
    ):
        notation.parse("\x1b[2J")
    with pytest.raises(DataError) as caught:
        notation.parse("\n" + "x" * 10_000)
    assert str(caught.value).startswith("program:2: ") and len(str(caught.value)) < 200


def test_files_that_are_no_programs_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent.txt cannot be read: No such file"):
        notation.read(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        notation.read(tmp_path)
    path = tmp_path / "latin1.txt"
    path.write_bytes("a -> b\né -> e\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin1.txt:2: not UTF-8 text"):
        notation.read(path)


NASTY = 'aab>- \t\n\r\x00\x1b"\\#.·→u/\x85\u2028\xa0\u3000\ufeff\u200b\u0301α😀'


def random_program(rng: random.Random) -> Program:
    return Program(
        [
            Rule(random_text(rng, NASTY, 6), random_text(rng, NASTY, 6), rng.random() < 0.5)
            for _ in range(rng.randint(0, 6))
        ]
    )


def test_programs_survive_being_written_and_read(tmp_path: Path) -> None:
    rng = random.Random(2)
    for number in range(3000):
        program = random_program(rng)
        text = notation.render(program)
        assert notation.parse(text) == program
        assert len(text.splitlines()) == len(program.rules)  # no side breaks a line, not even a Unicode one
        if number < 100:
            path = tmp_path / "rules.txt"
            path.write_text(text, encoding="utf-8")
            assert notation.read(path) == program


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("a -> b\n", encoding="utf-8-sig")
    assert notation.read(path) == Program([Rule("a", "b")])


def test_rules_are_quoted_only_where_they_must_be() -> None:
    program = Program([Rule("a#", "the b"), Rule("", "", True), Rule("x", ".", True), Rule(" ", "α")])
    assert notation.render(program) == 'a# -> the b\n-> .\nx -> . "."\n" " -> α\n'


def test_rules_that_no_file_could_hold_are_refused() -> None:
    with pytest.raises(DataError, match=r"left side .* half of a surrogate pair at position 1"):
        Rule("a\ud800", "")
