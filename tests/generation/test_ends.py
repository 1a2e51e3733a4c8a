"""Where answers end: texts over tokens and characters, several tokens, the folder's ids, fewest tokens."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from im_jax.data.templates import make_template
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.generation.ends import Ending, Ends, Verdict, ends_of
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Request
from tests.generation.tiny import tiny_model

TOKENIZER = ByteTokenizer()
EOS = TOKENIZER.eos_id


def end_of(
    text: str | list[int], *, together: int = 1, ends: Ends | None = None, **params: object
) -> Verdict | None:
    """What becomes of an answer whose tokens, bytes of a text, come so many at a time."""
    tokens = TOKENIZER.encode(text).ids.tolist() if isinstance(text, str) else text
    chosen = SamplingParams.from_record({"max_tokens": 1000} | params)
    request = Request("a", np.array([1], np.int32), chosen)
    ending = Ending(request, ends or Ends([EOS], []), chosen.max_tokens, TOKENIZER.decode)
    for count in range(together, len(tokens) + together, together):
        verdict = ending.find(tokens[:count], count - together)
        if verdict is not None:
            return verdict
    return None


@pytest.mark.parametrize("together", [1, 3, 16, 50])
def test_verdicts_do_not_depend_on_how_many_tokens_come_at_once(together: int) -> None:
    text = "one two three four five. END and on it goes, longer than a group</s>"
    assert end_of(text, together=together, stop=["END"]) == Verdict(
        28, "one two three four five. ", "stop", "END"
    )
    assert end_of(text, together=together, stop=["nowhere"]) == Verdict(65, text[:-4], "stop", None)
    assert end_of(text, together=together, max_tokens=7, stop=["END"]) == Verdict(7, text[:7], "length", None)
    # What ends it first counts: the text ends before the token.
    assert end_of("ab.</s>", together=together, stop=["."]) == Verdict(3, "ab", "stop", ".")
    assert end_of("ab</s>", together=together, stop=["b"]) == Verdict(2, "a", "stop", "b")


def test_the_first_text_cuts_and_may_stay() -> None:
    assert end_of("a b c d e f g h i", stop=["d", "b c"], max_tokens=16) == Verdict(5, "a ", "stop", "b c")
    kept = end_of("a b c d e f g h i", stop=["d"], max_tokens=16, include_stop_str_in_output=True)
    assert kept == Verdict(7, "a b c d", "stop", "d")


def test_characters_of_several_tokens_are_waited_for() -> None:
    text = "naïve - 東京 と"
    size = len(text.encode())
    assert end_of(text, stop=["東"], max_tokens=size) == Verdict(
        len("naïve - 東".encode()), "naïve - ", "stop", "東"
    )
    cut = end_of(text, max_tokens=3)
    assert cut is not None and cut.text == "na\ufffd" and cut.finish_reason == "length"


def test_stop_tokens_are_told_and_stay_in_the_tokens_only() -> None:
    assert end_of("abc", stop_token_ids=[ord("b")]) == Verdict(2, "a", "stop", ord("b"))
    kept = end_of("abc", stop_token_ids=[ord("b")], include_stop_str_in_output=True)
    assert kept == Verdict(2, "ab", "stop", ord("b"))
    assert end_of("ab</s>c", stop_token_ids=[EOS]) == Verdict(3, "ab", "stop", None)


def test_a_stop_of_several_tokens_ends_an_answer() -> None:
    ends = Ends([EOS], [list(b"<end>")])
    assert end_of("a<en<end>b", ends=ends) == Verdict(9, "a<en", "stop", None)
    assert end_of("a<end>b", ends=ends, include_stop_str_in_output=True) == Verdict(6, "a<end>", "stop", None)


def test_ignored_ends_are_gone_past() -> None:
    ends = Ends([EOS], [list(b"<e>")])
    assert end_of("a</s>b<e>c", ends=ends, ignore_eos=True) is None
    found = end_of("a</s>b<e>c", ends=ends, ignore_eos=True, stop_token_ids=[ord("c")])
    assert found is not None and found.stop_reason == ord("c")


def test_fewest_tokens_are_gone_past() -> None:
    ends = Ends([EOS], [list(b"<e>")])
    assert end_of("a<e>bc<e>", ends=ends, min_tokens=5) == Verdict(9, "a<e>bc", "stop", None)
    assert end_of("ab.cd.e", stop=["."], min_tokens=3, max_tokens=7) == Verdict(6, "ab.cd", "stop", ".")
    # One that begins among the fewest and ends behind them counts.
    assert end_of("abENDc", stop=["END"], min_tokens=3, max_tokens=6) == Verdict(5, "ab", "stop", "END")


@pytest.mark.parametrize(("told", "expected"), [(5, [257, 5]), ([5, 257, 9], [257, 5, 9]), (None, [257])])
def test_ends_of_a_folder_are_those_of_its_generation_config_too(
    tmp_path: pathlib.Path, told: object, expected: list[int]
) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": told}))
    model = tiny_model()
    here = dataclasses.replace(model, config=dataclasses.replace(model.config, path=str(tmp_path)))
    assert ends_of(here) == Ends(expected, [])


def test_ends_of_a_template_are_its_stops() -> None:
    template = make_template("tulu", TOKENIZER, "")
    model = dataclasses.replace(tiny_model(), template=template)
    assert [len(stop) for stop in model.stops] == [1]
    assert ends_of(model) == Ends([257], [])
    several = dataclasses.replace(model, template=make_template("chatml", TOKENIZER, ""))
    assert ends_of(several) == Ends([257], [list(b"<|im_end|>")])
