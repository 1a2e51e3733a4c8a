"""Markov algorithms: known programs, an interpreter of its own kind beside ours, the notation, the command."""
# ruff: noqa: RUF001  (the programs are in their authors' Greek letters)

import itertools
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax.errors import ConfigError, DataError
from im_jax.rewrites import markov, notation
from im_jax.rewrites.machine import Halt, Outcome, run, take_step
from im_jax.rewrites.program import Program, Rule
from tests.conftest import REPOSITORY

APPEND_REVERSED = """
# w -> w, then w reversed
αa → aαβa
αb → bαβb
βaa → aβa
βab → bβa
βba → aβb
βbb → bβb
αβa → aα
αβb → bα
α → ·
→ α
"""
BINARY_TO_UNARY = """
|0→0||
1→0|
0→
"""
BUSY_BEAVER = """
A0->1B
0A1->C01
1A1->C11
0B0->A01
1B0->A11
B1->1B
0C0->B01
1C0->B11
0C1->H01
1C1->H11
"""
UNARY_PRODUCT = """
|b -> ba|
ab -> ba
b  ->
*| -> b*
*  -> c
|c -> c
ac -> c|
c  -> .
"""


def outcome(program: str, text: str, limit: int = 10_000) -> tuple[str, int, str]:
    result = run(notation.parse(program), text, step_limit=limit)
    return result.text, result.steps, str(result.halt)


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        (APPEND_REVERSED, "abb", ("abbbba", 11, "terminal")),
        (BINARY_TO_UNARY, "101", ("|||||", 8, "blocked")),
        (BUSY_BEAVER, "000000A000000", ("00011H1111000", 13, "blocked")),
        (UNARY_PRODUCT, "|*||", ("||", 12, "terminal")),
    ],
    ids=["append reversed", "binary to unary", "busy beaver", "unary product"],
)
def test_known_programs_give_their_known_texts_steps_and_halts(
    program: str, text: str, expected: tuple[str, int, str]
) -> None:
    assert outcome(program, text) == expected


def test_every_short_word_is_followed_by_its_reverse_in_the_number_of_steps_of_the_formula() -> None:
    for n in range(6):
        for word in map("".join, itertools.product("ab", repeat=n)):
            expected = (word + word[::-1], n * (n + 3) // 2 + 2, "terminal")
            assert outcome(APPEND_REVERSED, word) == expected


def test_unary_product_multiplies() -> None:
    for m, n in itertools.product(range(6), repeat=2):
        text, _, halt = outcome(UNARY_PRODUCT, "|" * m + "*" + "|" * n)
        assert (text, halt) == ("|" * (m * n), "terminal")


def test_binary_numbers_become_unary() -> None:
    for number in range(16):
        for digits in (f"{number:b}", f"{number:04b}"):
            text, _, halt = outcome(BINARY_TO_UNARY, digits)
            assert (text, halt) == ("|" * int(digits, 2), "blocked")


# How a step is taken


def random_text(rng: random.Random, alphabet: str, longest: int) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(0, longest)))


def test_one_rule_replaces_once_as_python_does() -> None:
    rng = random.Random(0)
    absent = 0
    for _ in range(3000):
        x, y, z = (random_text(rng, "ab", longest) for longest in (3, 3, 10))
        result = run(Program([Rule(x, y, terminal=True)]), z)
        assert result.text == z.replace(x, y, 1)
        assert result.halt == (Halt.TERMINAL if x in z else Halt.BLOCKED)
        absent += x not in z
    assert 300 < absent < 2700  # both kinds were tried


def interpret(rules: list[tuple[str, str, bool]], text: str, limit: int) -> tuple[str, int, str]:
    """A Markov algorithm spelt out over lists of characters, with no string search; deliberately naive."""
    tape, done = list(text), 0
    while True:
        places = (
            (list(left), list(right), ends, at)
            for left, right, ends in rules
            for at in range(len(tape) + 1)
            if all(at + k < len(tape) and tape[at + k] == left[k] for k in range(len(left)))
        )
        place = next(places, None)
        if place is None:
            return "".join(tape), done, "blocked"
        if done == limit:
            return "".join(tape), done, "limit"
        left, right, ends, at = place
        tape[at : at + len(left)] = right
        done += 1
        if ends:
            return "".join(tape), done, "terminal"


def test_random_programs_run_as_a_naive_interpreter_runs_them() -> None:
    rng = random.Random(1)
    seen = dict.fromkeys(("terminal", "blocked", "limit"), 0)
    for _ in range(3000):
        rules = [
            (random_text(rng, "abc", 3), random_text(rng, "abc", 3), rng.random() < 0.2)
            for _ in range(rng.randint(0, 5))
        ]
        text, limit = random_text(rng, "abc", 8), rng.randint(0, 25)
        result = run(Program([Rule(*rule) for rule in rules]), text, step_limit=limit)
        assert (result.text, result.steps, str(result.halt)) == interpret(rules, text, limit)
        seen[result.halt] += 1
    assert min(seen.values()) > 300  # every way to end was tried


def test_overlapping_occurrences_are_taken_from_the_left() -> None:
    assert outcome("aa→b", "aaa") == ("ba", 1, "blocked")
    assert outcome("aba→x", "ababa") == ("xba", 1, "blocked")


def test_an_earlier_rule_wins_over_an_earlier_place() -> None:
    assert outcome("b → 1\na → 2", "ab", limit=1) == ("a1", 1, "limit")


def test_empty_sides_delete_and_insert_at_the_front() -> None:
    assert outcome("a ->", "banana") == ("bnn", 3, "blocked")
    assert outcome("-> . x", "ab") == ("xab", 1, "terminal")
    assert outcome("-> . x", "") == ("x", 1, "terminal")
    assert outcome("-> .", "ab") == ("ab", 1, "terminal")
    assert outcome("->", "ab", limit=7) == ("ab", 7, "limit")


def test_a_program_without_rules_is_blocked_at_once() -> None:
    assert outcome("", "ab") == ("ab", 0, "blocked")


# Limits


@pytest.mark.parametrize(
    ("program", "limit", "expected"),
    [
        ("a→b", 0, ("aa", 0, "limit")),
        ("a→b", 1, ("ba", 1, "limit")),
        ("a→b", 2, ("bb", 2, "blocked")),
        ("a→b", 3, ("bb", 2, "blocked")),
        ("x→y", 0, ("aa", 0, "blocked")),
        ("a→·b", 0, ("aa", 0, "limit")),
        ("a→·b", 1, ("ba", 1, "terminal")),
        ("→a", 3, ("aaaaa", 3, "limit")),
    ],
)
def test_the_limit_is_reported_only_if_there_was_more_to_do(
    program: str, limit: int, expected: tuple[str, int, str]
) -> None:
    assert outcome(program, "aa", limit) == expected


@pytest.mark.parametrize("name", ["step_limit", "max_characters"])
def test_negative_limits_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is -1; set it to 0 or more"):
        run(Program([]), "", **{name: -1})


def test_text_that_outgrows_its_limit_is_an_error_and_never_cut() -> None:
    doubling = Program([Rule("a", "aa")])
    assert len(run(doubling, "a", step_limit=99, max_characters=100).text) == 100
    with pytest.raises(DataError, match=r"after 100 steps there are 101 characters .* max_characters=100"):
        run(doubling, "a", step_limit=100, max_characters=100)
    with pytest.raises(DataError, match="after 0 steps there are 3 characters"):
        run(Program([]), "abc", max_characters=2)


def test_a_trace_counts_every_text_that_it_keeps() -> None:
    swap = Program([Rule("a", "b"), Rule("b", "a")])
    assert run(swap, "a", step_limit=50, max_characters=10).steps == 50
    with pytest.raises(DataError, match=r"after 10 steps there are 11 characters .*keep no trace"):
        run(swap, "a", step_limit=50, max_characters=10, trace=True)


def test_a_trace_leads_from_the_input_to_the_result() -> None:
    program = notation.parse(APPEND_REVERSED)
    result = run(program, "abb", trace=True)
    assert result.trace is not None and len(result.trace) == result.steps
    text = "abb"
    for step in result.trace:
        assert step == take_step(program, text)
        assert step.rule is program.rules[step.rule_index]
        left, right = text[: step.position], text[step.position + len(step.rule.left) :]
        assert left + step.rule.left + right == text and left + step.rule.right + right == step.text
        text = step.text
    assert text == result.text
    assert [step.rule.terminal for step in result.trace] == [False] * 10 + [True]
    assert run(program, "abb").trace is None


# Notation


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


# The command


@pytest.fixture
def program_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.txt"
    path.write_text(APPEND_REVERSED, encoding="utf-8")
    return path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "im_jax.rewrites.markov", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command, in this process."""
    code = markov.main(["markov", *arguments])
    return code, capsys.readouterr().out


def test_command_prints_one_json_object(program_file: Path) -> None:
    done = command(f"--program={program_file}", "--input=abb", "--format=json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"text": "abbbba", "steps": 11, "halt": "terminal"}\n'


def test_mistakes_are_one_line_and_exit_code_2(program_file: Path) -> None:
    program_file.write_text("a -> b\nb\n")
    done = command(f"--program={program_file}", "--input=abb")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {program_file}:2: no arrow") and done.stderr.count("\n") == 1


def test_neither_jax_nor_numpy_is_loaded() -> None:
    code = "import sys, im_jax.rewrites.markov; print({'jax', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_json_keeps_letters_of_any_script_and_has_exactly_its_keys(
    capsys: pytest.CaptureFixture[str], program_file: Path
) -> None:
    code, out = call(capsys, f"--program={program_file}", "--input=дλ", "--step_limit=1", "--format=json")
    assert code == 3
    assert out == '{"text": "αдλ", "steps": 1, "halt": "limit"}\n'


def test_json_trace_has_rule_position_and_text(
    capsys: pytest.CaptureFixture[str], program_file: Path
) -> None:
    code, out = call(capsys, f"--program={program_file}", "--input=", "--trace", "--format=json")
    assert code == 0
    assert json.loads(out) == {
        "text": "",
        "steps": 2,
        "halt": "terminal",
        "trace": [
            {"rule_index": 9, "rule": "-> α", "position": 0, "text": "α"},
            {"rule_index": 8, "rule": "α -> .", "position": 0, "text": ""},
        ],
    }
    _, out = call(
        capsys, f"--program={program_file}", "--input=a", "--step_limit=0", "--trace", "--format=json"
    )
    assert json.loads(out) == {"text": "a", "steps": 0, "halt": "limit", "trace": []}


def test_text_shows_the_result_and_how_the_run_ended(
    capsys: pytest.CaptureFixture[str], program_file: Path
) -> None:
    program = f"--program={program_file}"
    assert call(capsys, program, "--input=abb") == (
        0,
        "abbbba\nterminal after 11 steps: a terminal rule was applied\n",
    )
    assert call(capsys, program, "--input=abb", "--step_limit=1") == (
        3,
        "αabb\nlimit after 1 step: not halted; raise --step_limit to go on\n",
    )
    program_file.write_text("x ->")
    assert call(capsys, program, "--input=x") == (0, '""\nblocked after 1 step: no rule applies\n')
    assert call(capsys, program, "--input= \x1b ")[1].startswith(r'" \u001b "' + "\n")


def test_text_trace_is_a_table(capsys: pytest.CaptureFixture[str], program_file: Path) -> None:
    program_file.write_text(BINARY_TO_UNARY)
    _, out = call(capsys, f"--program={program_file}", "--input=10", "--trace")
    assert out.splitlines() == [
        "step  rule       position  text after",
        "   1  1 -> 0|           0  0|0",
        "   2  |0 -> 0||         1  00||",
        "   3  0 ->              0  0||",
        "   4  0 ->              0  ||",
        "",
        "||",
        "blocked after 4 steps: no rule applies",
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--input=a"], "no program given; set --program=FILE"),
        (["--program=", "--input=a"], "no program given; set --program=FILE"),
        (["--program={file}"], "no input given; set --input=TEXT, or --input= for the empty text"),
        (["--program={file}", "--input=a\udcff"], "--input is not UTF-8 text"),
        (["--program={file}", "--input=a", "--step_limit=-1"], "--step_limit=-1"),
        (["--program={file}", "--input=a", "--step_limit=few"], "--step_limit=few"),
        (["--program={file}", "--input=a", "--format=xml"], "--format=xml"),
        (["--program={file}", "--inptu=a"], "inptu"),
        (["--program={file}", "--input=a", "b"], "unexpected argument 'b'"),
    ],
)
def test_command_lines_that_cannot_work_are_refused(program_file: Path, flags: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        markov.main(["markov", *(flag.replace("{file}", str(program_file)) for flag in flags)])


def test_missing_program_and_outgrown_text_are_told(program_file: Path) -> None:
    with pytest.raises(DataError, match=r"absent.txt cannot be read: No such file"):
        markov.main(["markov", "--program=absent.txt", "--input=a"])
    with pytest.raises(DataError, match="max_characters=5"):
        markov.main(["markov", f"--program={program_file}", "--input=abb", "--max_characters=5"])


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = call(capsys, "--help")
    assert code == 0 and out.startswith("Run a Markov algorithm")
    for name in markov.Options._fields:
        assert f"  --{name}: " in out


def test_every_way_to_end_has_an_exit_code_and_a_meaning() -> None:
    for halt in Halt:
        assert halt in markov.EXIT_CODES and halt in markov.as_text(Outcome("", 0, halt))
