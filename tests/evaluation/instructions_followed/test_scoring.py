"""IFEval: every rule with an answer that follows it and one that does not; figures by hand; the real prompts."""

import json
import math
import pathlib
import random
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the rules are those of the extra `eval`")
pytest.importorskip("langdetect", reason="the rules are those of the extra `eval`")

from im_jax.errors import DataError
from im_jax.evaluation.instructions_followed.scoring import (
    Prompt,
    followed,
    read_prompts,
    read_responses,
    score,
)
from im_jax.evaluation.instructions_followed.sentences import prepare

ENGLISH = "this is a plain sentence about the weather in the mountains, and it is written in english."
RULES: dict[str, tuple[dict[str, Any], str, str]] = {
    "keywords:existence": ({"keywords": ["rain", "snow"]}, "Rain and SNOW", "Rain alone"),
    "keywords:frequency": ({"keyword": "a", "frequency": 2, "relation": "at least"}, "a a", "a"),
    "keywords:forbidden_words": ({"forbidden_words": ["rain"]}, "trains", "the Rain"),
    "keywords:letter_frequency": ({"letter": "z", "let_frequency": 2, "let_relation": "less than"}, "z", "zZ"),
    "language:response_language": ({"language": "de"}, "Das Wetter in den Bergen ist heute sehr schön.", ENGLISH),
    "length_constraints:number_sentences": ({"num_sentences": 3, "relation": "at least"}, "One. Two. Three.", "Mr. Smith slept. Dr. Who did."),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    "length_constraints:number_words": ({"num_words": 3, "relation": "less than"}, "two words", "three more words"),
    "length_constraints:nth_paragraph_first_word": ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}, "First.\n\nThen, second.", "Then first.\n\nSecond."),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name] [address]", "[name]"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Dear.\nP.S. I forgot.", "Dear. I forgot."),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* one\n* two", "* one\n* two\n- three"),
    "detectable_format:constrained_response": ({}, "My answer is no.", "No."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*one* and *two*", "*one* and two"),
    "detectable_format:multiple_sections": ({"section_spliter": "Part", "num_sections": 2}, "Part 1\na\nPart 2\nb", "Part 1\na"),
    "detectable_format:json_format": ({}, '```json\n{"a": 1}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<A title>>\ntext", "A title\ntext"),
    "combination:two_responses": ({}, "one\n******\ntwo", "one\n******\none"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say it."}, "say it. It.", "It. Say it."),
    "startend:end_checker": ({"end_phrase": "the end."}, "It was The End.", "The end. Or not"),
    "change_case:capital_word_frequency": ({"capital_frequency": 2, "capital_relation": "at least"}, "THIS is LOUD", "THIS is not"),
    "change_case:english_capital": ({}, ENGLISH.upper(), ENGLISH),
    "change_case:english_lowercase": ({}, ENGLISH, ENGLISH.capitalize()),
    "punctuation:no_comma": ({}, "one two", "one, two"),
    "startend:quotation": ({}, ' "all of it" ', '"some" of it'),
}  # fmt: skip


def prompt(name: str, arguments: dict[str, Any], text: str = "Do it.", key: int = 1) -> Prompt:
    return Prompt(key, text, (name,), (arguments,))


@pytest.mark.parametrize("name", RULES)
def test_each_rule_tells_an_answer_that_follows_it_from_one_that_does_not(name: str) -> None:
    arguments, good, bad = RULES[name]
    assert followed(prompt(name, arguments), good).strict == (True,)
    assert followed(prompt(name, arguments), bad).strict == (False,)
    assert followed(prompt(name, arguments), "").strict == (False,), "an empty answer follows nothing"


@pytest.mark.parametrize(
    "answer", ["Sure!\none two", "one two\nHope, that helps!", "Sure, yes:\none two\nBye, bye"]
)
def test_loosely_the_first_and_last_line_do_not_count(answer: str) -> None:
    found = followed(prompt("punctuation:no_comma", {}), answer.replace("Sure!", "Sure, !"))
    assert (found.strict, found.loose) == ((False,), (True,))


def test_loosely_asterisks_do_not_count() -> None:
    found = followed(prompt("startend:end_checker", {"end_phrase": "the end"}), "This is **the** *end*")
    assert (found.strict, found.loose) == ((False,), (True,))


def test_figures_are_shares_of_prompts_and_of_instructions() -> None:
    comma, title = ("punctuation:no_comma", {}), ("detectable_format:title", {})
    prompts = [
        Prompt(n, f"p{n}", tuple(name for name, _ in rules), tuple(arguments for _, arguments in rules))
        for n, rules in enumerate([[comma, title], [comma], [comma, title]])
    ]
    found = score([*prompts, prompt(*comma, text="unanswered")], {"p0": "<<a>> b", "p1": "a, b", "p2": "a"})
    assert (found.prompt_strict.value, found.instruction_strict.value) == (
        pytest.approx(1 / 3),
        pytest.approx(3 / 5),
    )
    assert found.by_instruction == {
        "detectable_format:title": (0.5, 0.5, 2),
        "punctuation:no_comma": (2 / 3, 2 / 3, 3),
    }
    assert (found.prompts, found.missing) == (3, 1)
    assert found.prompt_strict.standard_error == pytest.approx(math.sqrt(1 / 3 * 2 / 3 / 2))
    # Sums over prompts, less the share of their numbers: 2 - 6/5, 0 - 3/5, 1 - 6/5.
    residuals = [0.8, -0.6, -0.2]
    assert found.instruction_strict.standard_error == pytest.approx(
        math.sqrt(sum(r * r for r in residuals) * 3 / 2) / 5
    )


def test_what_is_drawn_at_random_is_the_same_every_time_and_leaves_no_trace() -> None:
    odd = prompt(
        "keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "at least"}, key=7
    )
    language = prompt("language:response_language", {"language": "en"}, key=8)
    random.seed(3)
    before = random.getstate()
    found = [(followed(odd, "some text"), followed(language, "hello so 1 chat")) for _ in range(5)]
    assert len(set(found)) == 1 and random.getstate() == before


def test_answers_to_other_prompts_and_unknown_rules_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="1 of 1 answers are to no prompt of these, such as 'q'"):
        score([prompt("punctuation:no_comma", {})], {"q": "a"})
    with pytest.raises(DataError, match="none of the prompts is answered"):
        score([prompt("punctuation:no_comma", {})], {})
    with pytest.raises(DataError, match="prompt 1: its instructions cannot be checked: KeyError"):
        followed(prompt("punctuation:no_dots", {}), "a")
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p", "response": "r"}\n' * 2)
    with pytest.raises(DataError, match=r"a.jsonl:2: answers a prompt that is answered before"):
        read_responses(path)
    path.write_text(json.dumps({"key": 1, "prompt": "p", "instruction_id_list": ["a"], "kwargs": []}))
    with pytest.raises(DataError, match=r"a.jsonl:1: has 1 instructions and 0 kwargs"):
        read_prompts(path)


def test_sentences_are_told_apart_though_nothing_was_downloaded() -> None:
    assert prepare() == prepare()
    rule = "length_constraints:number_sentences"
    text = "Dr. Smith (e.g. at 3 p.m. today) met Mrs. Jones. They spoke! Of what? Nobody knows."
    assert followed(prompt(rule, {"num_sentences": 4, "relation": "at least"}), text).strict == (True,)
    assert followed(prompt(rule, {"num_sentences": 5, "relation": "at least"}), text).strict == (False,)


def test_every_rule_of_the_real_prompts_is_tried_above_and_scores(shared_data: pathlib.Path) -> None:
    prompts = read_prompts(shared_data / "ifeval" / "input_data.jsonl")
    assert len(prompts) == 541 and {name for each in prompts for name in each.instructions} == set(RULES)
    found = score(prompts, {each.prompt: "My answer is yes." for each in prompts})
    assert found.by_instruction["detectable_format:constrained_response"] == (1.0, 1.0, 10)
    assert found.by_instruction["length_constraints:number_paragraphs"][:2] == (0.0, 0.0)
    assert sum(count for *_, count in found.by_instruction.values()) == 834 and found.missing == 0
    empty = score(prompts, {each.prompt: "" for each in prompts})
    assert (empty.prompt_loose.value, empty.instruction_loose.value) == (0.0, 0.0)
