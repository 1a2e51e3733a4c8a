"""What is chosen for turns is done, counted and told; what is not chosen is as it was."""

import dataclasses
import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import CHOICES, Config, DataConfig, EvalConfig, TurnsConfig
from im_jax.data.display import totals
from im_jax.data.encoding import encode_conversation
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.records import Message, ToolCall, conversation_from_record
from im_jax.data.records.turns import DONE, LEFT_OUT, NOTHING_LEFT, LeftOutByTurns, Turn, TurnsError, settle
from im_jax.data.report.as_json import to_json
from im_jax.data.report.as_text import to_lines
from im_jax.data.report.build import Policy, build
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError
from im_jax.losses.policy import policy_weights
from im_jax.token_classes import TokenClass
from tests.data.records.test_conversation import ASSISTANT, SYSTEM, USER, chat

RULES = ("empty", "first_assistant", "repeated", "last_user")
U, A = ("user", "q"), ("assistant", "r")
NO_U, NO_A = ("user", ""), ("assistant", " ")
CASES: dict[str, list[tuple[str, str]]] = {
    "empty": [U, NO_A, U, A],
    "first_assistant": [A, U, A],
    "repeated": [U, U, A],
    "last_user": [U, A, U],
}
"""What each rule is about, and none of the others."""
LEFT: dict[tuple[str, str], list[tuple[str, str]]] = {
    ("empty", "keep"): [U, ("assistant", ""), U, A],
    ("empty", "drop_turn"): [U, U, A],
    ("first_assistant", "drop_turn"): [U, A],
    ("repeated", "keep"): [U, U, A],
    ("repeated", "merge"): [("user", "q\n\nq"), A],
    ("repeated", "drop_turn"): [U, A],
    ("last_user", "keep"): [U, A, U],
    ("last_user", "drop_turn"): [U, A],
}
ALL = [(rule, choice) for rule in RULES for choice in CHOICES[f"data.turns.{rule}"]]


def record(turns: list[tuple[str, str]]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def messages(turns: list[tuple[str, str]], **choices: str) -> list[tuple[str, str]]:
    found = conversation_from_record(record(turns), "d.jsonl:1", turns=TurnsConfig(**choices))
    return [(message.role, message.content) for message in found.messages]


def prepared(folder: Path, records: list[Any], on_bad_example: str = "stop", **choices: str) -> Prepared:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    data = DataConfig(source="jsonl", path=str(path), turns=TurnsConfig(**choices), cache="none")
    data.on_bad_example, data.max_lost_fraction = on_bad_example, 1.0
    config = Config(data=data, eval=EvalConfig(num_examples=0))
    return prepare(config, make_tokenizer("bytes"), policy_weights("im"))


@pytest.mark.parametrize(("rule", "choice"), ALL)
def test_each_choice_does_what_it_says_and_is_counted(rule: str, choice: str, tmp_path: Path) -> None:
    plain = [U, A, U, A]
    chosen = {rule: choice}
    records = [record(plain), record(CASES[rule]), record(plain), record(CASES[rule]), record(plain)]
    if choice == "stop":
        others = [c for c in CHOICES[f"data.turns.{rule}"] if c != "stop"]
        with pytest.raises(DataError, match=r"d\.jsonl:2: field `messages\[.\]\..*") as caught:
            prepared(tmp_path, records, **chosen)
        assert f"--config.data.turns.{rule}={', '.join(others[:-1])} or {others[-1]} decides it" in str(
            caught.value
        )
        report = prepared(tmp_path, records, "skip", **chosen).report
        assert [message.split(": ")[0][-1] for message in report.skipped] == ["2", "4"]
        assert (report.kept, report.total) == (3, 5)
        return
    data = prepared(tmp_path, records, **chosen)
    report = data.report
    if choice == "skip":
        assert report.left_out_by_turns == {LEFT_OUT[rule]: 2} and not report.turn_choices
        assert (report.kept, report.total, len(data.train)) == (3, 5, 3)
        assert f"2 {LEFT_OUT[rule]} (data.turns)" in data.summary()
        return
    assert messages(CASES[rule], **chosen) == LEFT[rule, choice]
    assert (report.kept, report.total, report.left_out_by_turns) == (5, 5, {})
    more = {DONE["repeated", "keep"]: 2} if (rule, choice) == ("empty", "drop_turn") else {}
    assert report.turn_choices == {DONE[rule, choice]: 2} | more
    assert f"{DONE[rule, choice]} in 2" in data.summary()


def test_the_default_is_what_was_done_before_there_was_a_choice() -> None:
    assert TurnsConfig() == TurnsConfig("stop", "stop", "keep", "keep")
    for rule, choice in (("repeated", "keep"), ("last_user", "keep")):
        assert messages(CASES[rule]) == LEFT[rule, choice]
    for rule in ("empty", "first_assistant"):
        with pytest.raises(TurnsError):
            messages(CASES[rule])


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"prompt": "a", "completion": ""}, "completion"),
        ({"prompt": " ", "completion": "b"}, "prompt"),
        ({"instruction": "a", "input": "b", "output": "\n"}, "output"),
        ({"instruction": "", "output": "b"}, "instruction"),
        (chat(USER, {"role": "assistant"}), "messages[1].content"),
        (chat(USER, {"role": "assistant", "content": None}), "messages[1].content"),
    ],
)
def test_an_empty_turn_is_one_in_every_format(other: dict[str, Any], field: str) -> None:
    def read(choice: str) -> Any:
        return conversation_from_record(other, "d.jsonl:1", turns=TurnsConfig(empty=choice))

    with pytest.raises(TurnsError, match=r"field `" + field.replace("[", r"\[") + "` is "):
        read("stop")
    with pytest.raises(LeftOutByTurns, match=LEFT_OUT["empty"]):
        read("skip")
    kept = read("keep")
    assert [m.role for m in kept.messages] == ["user", "assistant"]
    assert sum(not m.content for m in kept.messages) == 1 and kept.turn_choices == (DONE["empty", "keep"],)
    answer_is_empty = not kept.messages[1].content
    with pytest.raises(LeftOutByTurns if answer_is_empty else TurnsError):
        read("drop_turn")  # no answer is left, or the assistant opens


@pytest.mark.parametrize("choice", CHOICES["data.turns.empty"])
def test_no_text_goes_with_an_empty_turn(choice: str) -> None:
    """An input without an instruction is text, and a system message cannot be kept empty."""
    for wrong in (
        {"instruction": "", "input": "text", "output": "b"},
        chat({"role": "system"}, USER, ASSISTANT),
    ):
        with pytest.raises(DataError, match="give it some text or remove the record") as caught:
            conversation_from_record(wrong, "d.jsonl:1", turns=TurnsConfig(empty=choice))
        assert not isinstance(caught.value, TurnsError)


def expected(turns: list[tuple[str, str]], choices: TurnsConfig) -> Any:
    """The rule that refuses, or why it is left out, or the turns that stay and what was done."""
    done = set()
    system, rest = turns[: turns[0][0] == "system"], turns[turns[0][0] == "system" :]
    present = {
        "empty": lambda: any(not text.strip() for _, text in rest),
        "first_assistant": lambda: [role for role, _ in rest][:1] == ["assistant"],
        "repeated": lambda: any(a[0] == b[0] for a, b in itertools.pairwise(rest)),
        "last_user": lambda: [role for role, _ in rest][-1:] == ["user"],
    }
    rest = [(role, text.strip()) for role, text in rest]
    answered = "assistant" in dict(rest)
    for rule in RULES:
        if not present[rule]():
            continue
        choice = getattr(choices, rule)
        if choice == "stop":
            return rule
        if choice == "skip":
            return LEFT_OUT[rule]
        done.add(DONE[rule, choice])
        if choice == "keep":
            continue
        if rule == "empty":
            rest = [turn for turn in rest if turn[1]]
        elif rule == "first_assistant":
            rest = list(itertools.dropwhile(lambda turn: turn[0] != "user", rest))
        elif rule == "repeated":
            rows = [
                (role, [text for _, text in row]) for role, row in itertools.groupby(rest, lambda t: t[0])
            ]
            rest = [
                (role, "\n\n".join(filter(None, texts)) if choice == "merge" else texts[-1])
                for role, texts in rows
            ]
        else:
            while rest and rest[-1][0] == "user":
                rest = rest[:-1]
    if "assistant" not in dict(rest):
        return NOTHING_LEFT if answered else "malformed"
    return system + rest, done


def test_any_turns_under_any_choices_are_as_by_brute_force() -> None:
    draw = random.Random(0)
    outcomes = Counter[str]()
    every = [
        TurnsConfig(*choices)
        for choices in itertools.product(*(CHOICES[f"data.turns.{rule}"] for rule in RULES))
    ]
    for number in range(4000):
        turns = [("system", "s")] * (number % 5 == 0)
        for at in range(draw.randint(1, 7)):
            turns.append(
                (draw.choice(("user", "assistant")), draw.choice((f"t{at}", f"t{at}", f"t{at}", "")))
            )
        choices = draw.choice(every)
        wanted = expected(turns, choices)
        try:
            found = conversation_from_record(record(turns), "d.jsonl:1", turns=choices)
        except LeftOutByTurns as reason:
            assert str(reason) == wanted
        except TurnsError as error:
            assert f"data.turns.{wanted}=" in error.other_choices
            outcomes["refused"] += 1
        except DataError as error:
            assert wanted == "malformed" and "has no assistant message" in str(error)
        else:
            kept, done = wanted
            assert [(m.role, m.content) for m in found.messages] == kept, (turns, choices)
            assert set(found.turn_choices) == done and len(done) == len(found.turn_choices)
        outcomes[wanted if isinstance(wanted, str) else "kept"] += 1
    assert {*LEFT_OUT.values(), NOTHING_LEFT, "malformed", "kept", "refused"} <= set(outcomes)
    assert outcomes["kept"] > 500 and min(outcomes[reason] for reason in LEFT_OUT.values()) > 30


def test_every_record_is_in_one_count_whatever_is_chosen(tmp_path: Path) -> None:
    draw = random.Random(1)
    records = []
    for at in range(120):
        roles = draw.choices(("user", "assistant"), k=draw.randint(1, 5))
        records.append(record([(role, draw.choice(("x", f"y{at}", ""))) for role in roles]))
    for choices in (
        {"empty": "skip", "first_assistant": "skip", "repeated": "skip", "last_user": "skip"},
        {"empty": "drop_turn", "first_assistant": "drop_turn", "repeated": "merge", "last_user": "drop_turn"},
        {"empty": "keep", "last_user": "stop"},
    ):
        data = prepared(tmp_path, records, "skip", **choices)
        report, config = data.report, TurnsConfig(**choices)
        wanted = [expected([(m["role"], m["content"]) for m in r["messages"]], config) for r in records]
        reasons = {*LEFT_OUT.values(), NOTHING_LEFT}
        assert report.total == len(records)
        assert report.left_out_by_turns == Counter(r for r in wanted if r in [*reasons])
        assert report.kept == sum(isinstance(each, tuple) for each in wanted)
        assert report.turn_choices == Counter(
            d for each in wanted if isinstance(each, tuple) for d in each[1]
        )
        assert len(report.skipped) == sum(isinstance(each, str) and each not in reasons for each in wanted)


def test_where_nothing_is_left_the_reasons_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no usable example: 2 with an empty turn were left out by data"):
        prepared(tmp_path, [record([U, NO_A])] * 2, empty="skip")
    with pytest.raises(DataError, match=f"1 {NOTHING_LEFT} were left out by data.turns; all 1 were skipped"):
        prepared(tmp_path, [record([U, NO_A]), {}], "skip", empty="drop_turn")


def test_only_turns_of_equal_weight_are_merged() -> None:
    light = USER | {"weight": 0.5}
    merge = TurnsConfig(repeated="merge")
    merged = conversation_from_record(chat(light, light, ASSISTANT), "d.jsonl:1", turns=merge).messages[0]
    assert merged == Message("user", "Hi\n\nHi", weight=0.5)
    with pytest.raises(TurnsError, match=r"`messages\[1\].weight` is 0.5, but that of the turn before"):
        conversation_from_record(chat(USER, light, ASSISTANT), "d.jsonl:1", turns=merge)


def test_the_input_of_a_merged_turn_stays_where_it_stood() -> None:
    both = chat(USER | {"input": "x"}, {"role": "user", "content": "And?", "input": "y"}, ASSISTANT)
    first, _ = conversation_from_record(both, "d.jsonl:1", turns=TurnsConfig(repeated="merge")).messages
    assert (first.content, first.input, first.text) == ("Hi\n\nx\n\nAnd?", "y", "Hi\n\nx\n\nAnd?\n\ny")


CALL = Message("assistant", "", tool_calls=(ToolCall("tide", "{}"),))
TOLD = Message("tool", "3 m")


def settled(*given: Message, **choices: str) -> tuple[Message, ...]:
    turns = [
        Turn(message, {"content": message.content}, "content", f"m[{i}]") for i, message in enumerate(given)
    ]
    return settle(turns, "d.jsonl:1", "m", TurnsConfig(**choices)).messages


def test_what_tools_say_and_calls_without_text_are_left_alone() -> None:
    user, answer = Message("user", "Tide?"), Message("assistant", "3 m.")
    talk = (user, CALL, TOLD, TOLD, Message("tool", ""), answer)
    for choice in CHOICES["data.turns.repeated"]:
        for empty in CHOICES["data.turns.empty"]:
            assert settled(*talk, repeated=choice, empty=empty) == talk
    assert settled(CALL, TOLD, user, answer, first_assistant="drop_turn") == (user, answer)
    said = dataclasses.replace(CALL, content="I ask.", tool_calls=CALL.tool_calls)
    assert settled(user, Message("assistant", "Wait."), said, TOLD, answer, repeated="merge")[1] == Message(
        "assistant", "Wait.\n\nI ask.", tool_calls=CALL.tool_calls
    )
    with pytest.raises(
        TurnsError, match="cannot be merged with that of the turn before it, since that one c"
    ):
        settled(user, CALL, answer, repeated="merge")
    with pytest.raises(TurnsError, match="since this one thinks"):
        settled(user, answer, dataclasses.replace(answer, thought="Hm."), repeated="merge")


JINJA = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "stripped": "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}",
}


@pytest.mark.parametrize("name", ["tulu", "chatml", "llama2", "llama3", "alpaca", "plain", *JINJA])
def test_an_empty_answer_that_is_kept_trains_its_stop_and_nothing_else(name: str, tmp_path: Path) -> None:
    if name in JINJA:
        (tmp_path / "t.jinja").write_text(JINJA[name])
        name = str(tmp_path / "t.jinja")
    tokenizer = make_tokenizer("bytes")
    template = make_template(name, tokenizer)

    def classes(answer: str) -> list[int]:
        given = record([U, A, ("user", "again"), ("assistant", answer)])
        conversation = conversation_from_record(given, "d:1", turns=TurnsConfig(empty="keep"))
        return encode_conversation(conversation, template, tokenizer, max_length=400).classes.tolist()

    empty, full = classes(""), classes("rrr")
    assert empty == [c for c in full if c != TokenClass.LAST_ASSISTANT]
    assert full.count(TokenClass.LAST_ASSISTANT) == 3 and TokenClass.LAST_STOP in empty


def test_report_summary_and_totals_tell_of_choices(tmp_path: Path) -> None:
    records = [
        record([U, A, U, A]),
        record([U, NO_A]),
        record([U, U, A]),
        record([A, U, A]),
        record([U, A, U]),
    ]
    choices = {"empty": "skip", "first_assistant": "drop_turn", "repeated": "merge", "last_user": "drop_turn"}
    data = prepared(tmp_path, records, **choices)
    done = [DONE[rule, choices[rule]] for rule in RULES if choices[rule] != "skip"]
    summary = data.summary()
    assert "  of 5 in the source: 1 with an empty turn (data.turns)" in summary
    assert all(f"{each} in 1" in summary for each in done)
    counts = data.as_dict()
    assert counts["turn_choices"] == dict.fromkeys(done, 1)
    assert counts["left_out_by_turns"] == {"with an empty turn": 1}
    shown = dict(totals(data.report))
    assert shown["dropped: with an empty turn"] == "1" and done[0] in shown["turns"]
    config = Config(data=DataConfig(turns=TurnsConfig(**choices)))
    report = build(config, data, [Policy("im", policy_weights("im"))])
    found = to_json(report)
    assert found["turn_choices"] == counts["turn_choices"]
    assert found["left_out_by_turns"] == counts["left_out_by_turns"]
    assert found["records"]["by_turns"] == 1 and found["records"]["total"] == 5
    fates = {name: n for name, n in found["records"].items() if name not in ("total", "kept")}
    assert sum(fates.values()) == 5
    text = " ".join(line.text.strip() for line in to_lines(report))
    assert "Records left out by data.turns: 1 with an empty turn." in text
    assert "merged in 1" in text and "dropped: by data.turns" in text


def test_held_out_files_are_read_by_the_same_choices(tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text("".join(json.dumps(record(turns)) + "\n" for turns in ([U, A], [U, NO_A], [U, U, A])))
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(record([U, A])) + "\n")
    turns = TurnsConfig(empty="skip", repeated="merge")
    data = DataConfig(source="jsonl", path=str(path), turns=turns, cache="none")
    config = Config(data=data, eval=EvalConfig(path=str(held), num_examples=9))
    found = prepare(config, make_tokenizer("bytes"), policy_weights("im"))
    assert found.heldout_report is not None and len(found.heldout) == 2
    assert found.heldout_report.left_out_by_turns == {"with an empty turn": 1}
    assert found.heldout_report.turn_choices == {DONE["repeated", "merge"]: 1}
    assert found.report.total == 1 and not found.report.turn_choices


def test_a_system_message_opens_nothing() -> None:
    talk = chat(SYSTEM, ASSISTANT, USER, ASSISTANT)
    found = conversation_from_record(talk, "d:1", turns=TurnsConfig(first_assistant="drop_turn"))
    assert [m.role for m in found.messages] == ["system", "user", "assistant"]
