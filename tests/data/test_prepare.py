"""What is kept, held out and counted, and when the start-up check stops a run."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.config import Config, DataConfig, EvalConfig
from im_jax.data.dataset import Dataset
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.report.as_json import to_json
from im_jax.data.report.as_text import to_lines
from im_jax.data.report.build import Policy, build
from im_jax.data.report.page import to_html
from im_jax.data.statistics import MESSAGES
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.errors import ConfigError, DataError
from im_jax.losses.policy import policy_weights
from im_jax.token_classes import OUTPUT_CLASSES, TokenClass
from tests.data.synthetic import chats

SHORT = {"prompt": "Say hi.", "completion": "Hi!"}
LONG_PROMPT = {"prompt": "word " * 60, "completion": "Hi!"}
LONG_OUTPUT = {"prompt": "Count.", "completion": "one two three " * 30}


def write(path: Path, records: list[Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def config_for(path: str, **data: Any) -> Config:
    settings: dict[str, Any] = {"source": "jsonl", "path": path, "max_length": 80} | data
    return Config(data=DataConfig(**settings), eval=EvalConfig(num_examples=0))


def prepared(config: Config, policy: str = "im") -> Prepared:
    return prepare(config, make_tokenizer(tokenizer_path(config)), policy_weights(policy))


def ids(dataset: Dataset) -> list[str]:
    return [dataset[i].id for i in range(len(dataset))]


def test_prompt_that_leaves_no_room_for_output_is_dropped_under_every_policy(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [SHORT, LONG_PROMPT, LONG_OUTPUT, SHORT])
    for policy in ("it", "im", "all"):
        data = prepared(config_for(path), policy)
        assert [i.rpartition(":")[2] for i in ids(data.train)] == ["1", "3", "4"]
        assert (data.report.without_output, data.report.truncated, data.report.trained) == (1, 1, 3)


def test_without_the_drop_rule_im_keeps_what_it_cannot_train(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [SHORT, LONG_PROMPT])
    config = config_for(path, drop_without_output=False)
    assert prepared(config, "im").report.trained == 2
    report = prepared(config, "it").report
    assert (report.trained, report.without_target) == (1, 1)


@pytest.mark.parametrize(
    ("truncation", "kept", "counts"),
    [
        ("right", 2, {"without_output": 1, "truncated": 1}),
        ("keep_output", 3, {"truncated": 2}),
        ("drop", 1, {"too_long": 2}),
    ],
)
def test_truncation_policies_are_counted(tmp_path: Path, truncation: str, kept: int, counts: Any) -> None:
    path = write(tmp_path / "d.jsonl", [SHORT, LONG_PROMPT, LONG_OUTPUT])
    data = prepared(config_for(path, truncation=truncation))
    assert len(data.train) == data.report.kept == kept
    found = {name: getattr(data.report, name) for name in ("too_long", "without_output", "truncated")}
    assert found == {"too_long": 0, "without_output": 0, "truncated": 0} | counts
    assert data.report.total == 3


@pytest.mark.parametrize(
    ("truncation", "lost"), [("right", [LONG_PROMPT]), ("drop", [LONG_PROMPT, LONG_OUTPUT])]
)
def test_examples_that_are_left_out_are_measured_all_the_same(
    tmp_path: Path, truncation: str, lost: list[dict[str, str]]
) -> None:
    path = write(tmp_path / "d.jsonl", [SHORT, LONG_PROMPT, LONG_OUTPUT])
    report = prepared(config_for(path, truncation=truncation)).report
    whole = prepared(config_for(write(tmp_path / "lost.jsonl", lost), max_length=10_000)).train
    assert report.left_out == {
        "full_length": Counter(whole.lengths.tolist()),
        "instruction_words": Counter(len(record["prompt"].split()) + 1 for record in lost),
        "output_words": Counter(len(record["completion"].split()) + 1 for record in lost),
        "turns": Counter({1: len(lost)}),
    }


def test_of_many_malformed_records_all_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    """Also in a second start, of a mixture, and where the report shows them."""
    bad = {"prompt": "", "completion": "x"}
    paths = [
        write(tmp_path / f"{name}.jsonl", [SHORT, *[bad] * count]) for name, count in (("a", 1300), ("b", 40))
    ]
    cache = str(tmp_path / "cache")
    chosen = config_for(paths[0], on_bad_example="skip", cache=cache)
    for data in (prepared(chosen), prepared(chosen)):
        assert (data.report.malformed, data.report.total, len(data.report.skipped)) == (1300, 1301, MESSAGES)
        assert data.report.skipped[-1].startswith(f"{paths[0]}:1001: ")
        assert data.report.summary("data").splitlines()[-1] == "  ... and 1,295 more skipped"
        assert data.report.as_dict()["malformed"] == 1300 and "1300 malformed" in data.report.losses()
    both = config_for("", mixture=f"b={paths[1]}@all;a={paths[0]}@all", on_bad_example="skip", cache=cache)
    mixed = prepared(both)
    assert (mixed.report.malformed, len(mixed.report.skipped)) == (1340, MESSAGES)
    assert [share.report.malformed for share in mixed.shares.values()] == [40, 1300]
    report = build(both, mixed, [Policy("im", policy_weights("im"))])
    assert "1,340 records of 1,342 cannot be used: see below." in to_json(report)["findings"]
    assert to_json(report)["records"]["malformed"] == 1340
    assert list(to_lines(report, 80))[-1].text == "... and 1,335 more"
    assert "<p>... and 1,320 more</p>" in to_html(report)


def test_where_nothing_is_usable_all_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"prompt": "", "completion": "x"}] * 1200)
    with pytest.raises(DataError, match="holds no usable example: all 1,200 were skipped, the first because"):
        prepared(config_for(path, on_bad_example="skip"))


def test_every_example_is_in_exactly_one_count(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    write(path, [SHORT, LONG_PROMPT, {"prompt": "", "completion": "x"}, LONG_OUTPUT])
    report = prepared(config_for(str(path), on_bad_example="skip")).report
    assert report.total == 4
    assert report.malformed == len(report.skipped) == 1 and ":3:" in report.skipped[0]
    assert sum(report.as_dict()["tokens"].values()) == report.tokens.sum()


def test_too_many_lost_examples_stop_the_run_and_say_why(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "d.jsonl", [SHORT, LONG_PROMPT]))
    report = prepared(config).report
    with pytest.raises(DataError, match=r"1 of 2 examples would not be trained on \(1 without output\)"):
        report.check(config.data)
    config.data.max_lost_fraction = 0.5
    report.check(config.data)


def test_no_target_at_all_stops_the_run(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "d.jsonl", [LONG_PROMPT]), max_lost_fraction=1.0)
    with pytest.raises(DataError, match=r"none of 1 example has a token that carries loss"):
        prepared(config).report.check(config.data)


def test_stop_token_lost_to_truncation_everywhere_stops_the_run(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "d.jsonl", [LONG_OUTPUT, LONG_OUTPUT]))
    report = prepared(config).report
    with pytest.raises(DataError, match=r"never learn to stop.*data\.max_length=80"):
        report.check(config.data)
    report.check(config.data, require_trained_stop=False)


def test_message_weights_reach_the_rows_and_a_weight_of_zero_is_no_target(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "a", "weight": 0.25},
        {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    data = prepared(config_for(write(tmp_path / "d.jsonl", [{"messages": messages}])))
    row = data.train_rows[0]
    user, assistant = row.classes == TokenClass.USER, row.classes == TokenClass.ASSISTANT
    assert sorted(set(row.message_weights[user])) == [0.25, 1.0]
    assert set(row.message_weights[assistant]) == {0.0}
    assert set(row.message_weights[row.classes == TokenClass.LAST_ASSISTANT]) == {1.0}


def test_special_tokens_written_inside_messages_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"prompt": "What is </s>?", "completion": "A stop."}, SHORT])
    assert prepared(config_for(path)).report.special_in_content == 1


def test_held_out_examples_are_no_training_examples_and_follow_the_data_seed(tmp_path: Path) -> None:
    records = [{"id": f"r{i}", **SHORT} for i in range(30)]
    config = config_for(write(tmp_path / "d.jsonl", records))
    config.eval.num_examples = 7
    first, again = prepared(config), prepared(config)
    assert len(first.heldout) == 7
    assert sorted([*ids(first.train), *ids(first.heldout)]) == sorted(f"r{i}" for i in range(30))
    assert ids(first.heldout) == ids(again.heldout)
    config.seed = 5
    assert ids(prepared(config).heldout) == ids(first.heldout)
    config.data.seed = 5
    assert ids(prepared(config).heldout) != ids(first.heldout)


def test_holding_out_everything_is_refused(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "d.jsonl", [SHORT, SHORT]))
    config.eval.num_examples = 2
    with pytest.raises(ConfigError, match=r"eval\.num_examples=2 would leave none of 2 examples"):
        prepared(config)


def test_held_out_file_is_read_instead(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "d.jsonl", [SHORT] * 3))
    config.eval = EvalConfig(path=write(tmp_path / "e.jsonl", [{"id": "held", **SHORT}] * 2), num_examples=1)
    data = prepared(config)
    assert (len(data.train), ids(data.heldout)) == (3, ["held"])
    config.eval.path = str(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match=r"eval\.path: there is no file .*nowhere\.jsonl"):
        prepared(config)


def test_word_counts_of_dolly_3k_are_those_of_the_paper(shared_data: Path) -> None:
    """Table 5 of the paper: 68.08 output words, 43.83 instruction words, ratio 0.6439."""
    path = shared_data / "instruction_modelling" / "alpagasus_3k_dolly.jsonl.gz"
    config = config_for(str(path), max_length=100_000)
    report = prepared(config).report
    assert report.kept == 2996
    assert report.output_words / 2996 == pytest.approx(68.08, abs=0.005)
    assert report.instruction_words / 2996 == pytest.approx(43.83, abs=0.005)
    assert report.as_dict()["instruction_output_ratio_words"] == pytest.approx(0.6439, abs=5e-4)


def test_words_are_counted_between_spaces_and_one_more_per_message(tmp_path: Path) -> None:
    records = [{"messages": chat} for chat in chats(60)]
    report = prepared(config_for(write(tmp_path / "d.jsonl", records), max_length=100_000)).report
    words = {True: 0, False: 0}
    for record in records:
        for message in record["messages"]:
            words[message["role"] == "assistant"] += len(message["content"].split()) + 1
    assert (report.output_words, report.instruction_words) == (words[True], words[False])
    assert report.as_dict()["instruction_output_ratio_words"] == round(words[False] / words[True], 4)


def test_thoughts_and_calls_are_words_of_the_output(tmp_path: Path) -> None:
    call = {"name": "tide", "arguments": '{"port": "Hull", "at": "noon"}'}
    messages = [
        {"role": "user", "content": "Which tide?"},
        {"role": "assistant", "reasoning": "I have to look.", "tool_calls": [call]},
        {"role": "tool", "content": "It is high."},
        {"role": "assistant", "content": "High."},
    ]
    record = {"messages": messages, "tools": [{"name": "tide", "description": "tells the tide"}]}
    path = write(tmp_path / "d.jsonl", [record])
    report = prepared(config_for(path, template="chatml", max_length=10_000)).report
    assert (report.output_words, report.instruction_words) == (4 + 1 + 4 + 1 + 1 + 1, 2 + 1 + 3 + 1)
    outputs = [report.class_tokens(c) for c in (TokenClass.ASSISTANT, TokenClass.STOP)]
    assert report.tokens[list(OUTPUT_CLASSES)].sum() == sum(outputs)
    kinds = [TokenClass.THOUGHT, TokenClass.TOOL_CALL]
    assert report.tokens[kinds].tolist() == [15, len('tide", "arguments": ' + call["arguments"])]


def test_packing_loses_no_token(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [SHORT] * 9)
    packed, padded = prepared(config_for(path)), prepared(config_for(path, packing="none"))
    assert len(packed.train_rows) < len(padded.train_rows) == 9
    totals = [
        sum(int(np.count_nonzero(d.train_rows[i].segments)) for i in range(len(d.train_rows)))
        for d in (packed, padded)
    ]
    assert totals[0] == totals[1] == packed.train.lengths.sum()


def test_losses_of_a_held_out_file_are_counted_and_shown(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "d.jsonl", [SHORT] * 3), on_bad_example="skip")
    heldout = [SHORT, {"prompt": "", "completion": "x"}, LONG_PROMPT]
    config.eval = EvalConfig(path=write(tmp_path / "e.jsonl", heldout), num_examples=9)
    data = prepared(config)
    assert data.heldout_report is not None
    assert (data.heldout_report.total, data.heldout_report.without_output, len(data.heldout)) == (3, 1, 1)
    assert "held-out data: 1 example," in data.summary()
    assert "e.jsonl:2" in data.summary()


def test_conversation_that_a_template_cannot_write_is_a_bad_example(tmp_path: Path) -> None:
    template = tmp_path / "upper.jinja"
    template.write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content | upper if 'X' in m.content else m.content }}<end>"
        "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    path = write(tmp_path / "d.jsonl", [SHORT, {"prompt": "aX", "completion": "b"}, SHORT])
    with pytest.raises(DataError, match=r"d\.jsonl:2"):
        prepared(config_for(path, template=str(template)))
    report = prepared(config_for(path, template=str(template), on_bad_example="skip")).report
    assert (report.kept, report.total) == (2, 3)
    assert "d.jsonl:2" in report.skipped[0]


def test_stop_text_that_the_tokenizer_has_no_token_for_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [SHORT])
    assert "not one" not in prepared(config_for(path)).summary()
    assert "the stop '<|im_end|>' is 10 tokens" in prepared(config_for(path, template="chatml")).summary()
