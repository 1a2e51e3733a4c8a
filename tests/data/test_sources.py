"""JSON Lines files are read completely, at random, and never lose a line in silence."""

import gzip
import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import DataConfig, FieldNames
from im_jax.data.generated import GeneratedSource
from im_jax.data.jsonl import JsonlSource
from im_jax.data.sources import make_source
from im_jax.errors import ConfigError, DataError
from tests.data.synthetic import chats


def line(number: int) -> str:
    return json.dumps({"id": number, "prompt": f"Count to {number}.", "completion": f"{number}…"})


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        JsonlSource(path)
    return str(caught.value)


def contents(source: JsonlSource) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(c.id, [(m.role, m.content) for m in c.messages]) for c in source]


def raw_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in gzip.decompress(path.read_bytes()).splitlines()]


def expected(record: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    return record["id"], [(m["role"], m["content"]) for m in record["messages"]]


def test_lines_are_read_in_order_and_blank_ones_do_not_count(tmp_path: Path) -> None:
    source = JsonlSource(write(tmp_path / "a.jsonl", f"\n{line(1)}\r\n  \n\n{line(2)}"))
    assert [c.id for c in source] == ["1", "2"]
    assert source[0].messages[1].content == "1…"
    assert [c.origin for c in source] == [f"{tmp_path}/a.jsonl:2", f"{tmp_path}/a.jsonl:5"]
    assert source[-1].id == "2"
    with pytest.raises(IndexError):
        source[2]


def test_several_files_follow_each_other(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.jsonl", f"{line(2 * n)}\n{line(2 * n + 1)}\n") for n in range(3)]
    assert [c.id for c in JsonlSource(paths)] == ["0", "1", "2", "3", "4", "5"]


def test_a_byte_order_mark_at_the_start_is_no_text(tmp_path: Path) -> None:
    assert len(JsonlSource(write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + line(1).encode()))) == 1


def test_gzip_is_known_by_its_content_whatever_the_name(tmp_path: Path) -> None:
    zipped = gzip.compress(line(1).encode()) + gzip.compress(b"\n" + line(2).encode())
    assert len(JsonlSource(write(tmp_path / "zipped.jsonl", zipped))) == 2
    assert len(JsonlSource(write(tmp_path / "plain.jsonl.gz", line(1)))) == 1


def test_random_access_equals_sequential_reading(tmp_path: Path) -> None:
    rng = random.Random(0)
    for trial in range(5):
        records = [
            {"prompt": "".join(rng.choices('aé漢🙂\n"\\ ', k=rng.randint(1, 50))) + "x", "completion": str(i)}
            for i in range(rng.randint(1, 40))
        ]
        lines = [json.dumps(record, ensure_ascii=rng.random() < 0.5) for record in records]
        text = "".join(text + "\n" * rng.randint(1, 3) for text in lines)
        source = JsonlSource(write(tmp_path / f"{trial}.jsonl", text))
        texts = [(r["prompt"], r["completion"]) for r in records]
        assert [tuple(m.content for m in c.messages) for c in source] == texts
        for i in rng.choices(range(len(records)), k=50):
            assert tuple(m.content for m in source[i].messages) == texts[i]


def test_a_source_can_be_sent_to_another_process(tmp_path: Path) -> None:
    source = JsonlSource(write(tmp_path / "a.jsonl", f"{line(1)}\n{line(2)}"))
    assert list(pickle.loads(pickle.dumps(source))) == list(source)


def test_a_run_keeps_reading_what_it_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1))
    source = JsonlSource(path)
    path.unlink()
    assert source[0].id == "1"


BAD_LINES = {
    b'{"prompt": "a", "completion"': "is not JSON: Expecting ':' delimiter at column 29",
    b'{"prompt": "a"} {"prompt": "b"}': "is not JSON: Extra data at column 17",
    b'{"prompt": "\xff", "completion": "b"}': "is not UTF-8 at byte 13 of the line, 0xff",
    b'"text"': "is the string 'text'; each record must be a JSON object",
    b"{}": "the fields found are: none",
    b'{"prompt": "a"}': "field `completion` is missing",
    b'{"prompt": "a", "completion": ""}': "field `completion` is empty",
    b'{"prompt": 1, "completion": "b"}': "field `prompt` is the number 1; must be a string",
    b'{"prompt": "\\ud83d", "completion": "b"}': "field `prompt` holds '\\ud83d' at character 1",
    b'{"messages": [{"role": "human", "content": "a"}]}': "field `messages[0].role` is 'human'; use one of",
    b'{"messages": [{"role": "assistant", "content": "a"}]}': "the user must speak first",
    b'{"messages": [{"role": "user", "content": "a"}]}': "field `messages` has no assistant message",
    b'{"messages": [{"role": "user", "content": "a", "weight": NaN}]}': "weight` is the number nan; must",
    b"{" * 200_000: "is not JSON",
    b'{"prompt": ' + b"[" * 200_000: "is beyond what Python's json reads",
    b'{"prompt": ' + b"1" * 5000 + b"}": "is beyond what Python's json reads",
}


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_stops_with_file_line_and_field(tmp_path: Path, bad: bytes) -> None:
    path = write(tmp_path / "a.jsonl", f"{line(1)}\n\n".encode() + bad + f"\n{line(2)}".encode())
    message = refusal(path)
    assert message.startswith(f"{path}:3: ")
    assert BAD_LINES[bad] in message
    assert message.endswith("--config.data.on_bad_example=skip leaves such out)")
    assert "\n" not in message


def test_skipped_lines_are_counted_and_named(tmp_path: Path) -> None:
    content = b"\n".join(part for bad in BAD_LINES for part in (line(1).encode(), bad))
    path = write(tmp_path / "a.jsonl", content)
    source = JsonlSource(path, on_bad_example="skip")
    assert len(source) == len(source.skipped) == len(BAD_LINES)
    for i, (message, reason) in enumerate(zip(source.skipped, BAD_LINES.values(), strict=True)):
        assert message.startswith(f"{path}:{2 * i + 2}: ")
        assert reason in message
        assert source[i].origin == f"{path}:{2 * i + 1}"


def test_a_file_of_bad_lines_only_is_refused_even_when_skipping(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "{}\n{}\n")
    with pytest.raises(
        DataError, match=r"no usable example: all 2 were skipped, the first because .*a\.jsonl:1"
    ):
        JsonlSource(path, on_bad_example="skip")


def test_a_missing_file_and_a_directory_name_the_field_to_set(tmp_path: Path) -> None:
    assert f"data.path: there is no file '{tmp_path}/a'" in refusal(tmp_path / "a")
    with pytest.raises(DataError, match=r"data\.path names no file"):
        JsonlSource([])
    assert "is a directory; set --config.data.path to the files in it" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "a.jsonl: is empty; it must hold records" in refusal(write(tmp_path / "a.jsonl", content))


def test_a_damaged_gzip_is_refused_even_when_skipping(tmp_path: Path) -> None:
    zipped = gzip.compress("\n".join(line(i) for i in range(100)).encode())
    damaged = bytearray(zipped)
    damaged[len(zipped) // 2] ^= 0xFF
    for content in (zipped[:-4], zipped[: len(zipped) // 2], zipped[:5], bytes(damaged), zipped + b"more"):
        path = write(tmp_path / "a.jsonl.gz", content)
        with pytest.raises(DataError, match="is a damaged or truncated gzip file"):
            JsonlSource(path, on_bad_example="skip")


def test_every_record_of_the_papers_dolly_file_is_read(shared_data: Path) -> None:
    path = shared_data / "instruction_modelling" / "alpagasus_3k_dolly.jsonl.gz"
    assert contents(JsonlSource(path)) == [expected(record) for record in raw_records(path)]
    assert len(JsonlSource(path)) == 2996


def test_the_papers_alpaca_file_has_four_records_without_an_answer(shared_data: Path) -> None:
    """All 5,305 records are accounted for: four have an empty output, and each is named."""
    path = shared_data / "instruction_modelling" / "alpagasus_claude_t45_alpaca.jsonl.gz"
    reason = "field `messages[1].content` is empty"
    assert f"{path}:2591: {reason}" in refusal(path)
    source = JsonlSource(path, on_bad_example="skip")
    for message, number in zip(source.skipped, [2591, 3261, 4653, 4725], strict=True):
        assert message.startswith(f"{path}:{number}: {reason}")
    answered = [record for record in raw_records(path) if record["messages"][1]["content"]]
    assert contents(source) == [expected(record) for record in answered]
    assert len(source) == 5305 - 4


def test_gsm8k_is_read_through_field_names(shared_data: Path) -> None:
    data = DataConfig(
        source="jsonl",
        path=f"{shared_data}/gsm8k/train.jsonl.gz, {shared_data}/gsm8k/test.jsonl",
        fields=FieldNames(prompt="question", completion="answer"),
    )
    source = make_source(data)
    assert len(source) == 7473 + 1319
    assert source[0].messages[0].content.startswith("Natalia sold clips to 48")
    assert source[7473].id == f"{shared_data}/gsm8k/test.jsonl:1"


def test_the_alpagasus_arrays_are_read_whole(shared_data: Path) -> None:
    for name, count in (("claude_t45", 5305), ("dolly_3k", 2996), ("random_9k", 9229)):
        path = shared_data / "alpagasus" / f"{name}.json.gz"
        records = json.loads(gzip.decompress(path.read_bytes()))
        source = JsonlSource(path, on_bad_example="skip")
        kept = [record for record in records if record["output"].strip()]
        assert [c.messages[-1].content for c in source] == [record["output"] for record in kept]
        assert len(source) + len(source.skipped) == count


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (
            DataConfig(source="generated", path="a.jsonl"),
            "data.path is 'a.jsonl' but data.source is generated",
        ),
        (
            DataConfig(source="generated", name="x"),
            "data.name is 'x' but data.source is generated; set --config",
        ),
        (DataConfig(source="generated", num_generated=0), "data.num_generated is 0; set it to 1 or more"),
        (DataConfig(source="jsonl"), "data.path is empty; set --config.data.path=FILE"),
        (DataConfig(source="jsonl", path=" , "), "data.path is empty; set --config.data.path=FILE"),
        (DataConfig(source="jsonl", path="a", name="x"), "data.name is 'x' but data.source is jsonl"),
        (DataConfig(source="jsonl", path="a", split="test"), "only folders and TFDS data sets have splits"),
        (DataConfig(source="tfds", path="a"), "data.name is empty; set --config.data.name=NAME"),
        (DataConfig(source="hf"), "data.source is 'hf'; set one of generated, jsonl, tfds"),
    ],
)
def test_fields_that_do_not_fit_the_source_are_refused(data: DataConfig, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_source(data)
    assert advice in str(caught.value)


def test_on_bad_example_is_one_of_its_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="on_bad_example is 'ignore'; set one of stop, skip"):
        JsonlSource(write(tmp_path / "a.jsonl", line(1)), on_bad_example="ignore")


def test_the_default_configuration_gives_the_generated_set() -> None:
    source = make_source(DataConfig(num_generated=3, seed=5))
    assert list(source) == list(GeneratedSource(3, seed=5))
    assert source.skipped == ()


def test_every_synthetic_record_is_read_and_those_without_an_answer_are_named(tmp_path: Path) -> None:
    made = [{"id": f"s{i}", "messages": chat} for i, chat in enumerate(chats(300))]
    for i in (3, 77):
        made[i]["messages"] = [*chats(1)[0][:-1], {"role": "assistant", "content": ""}]
    text = "\n".join(json.dumps(record, ensure_ascii=False) for record in made)
    source = JsonlSource(write(tmp_path / "a.jsonl.gz", gzip.compress(text.encode())), on_bad_example="skip")
    assert contents(source) == [expected(record) for i, record in enumerate(made) if i not in (3, 77)]
    assert [f".gz:{line}: " in message for line, message in zip((4, 78), source.skipped, strict=True)] == [
        True
    ] * 2


def test_questions_and_answers_of_two_files_are_read_through_field_names(tmp_path: Path) -> None:
    for name, count in (("train", 3), ("test", 2)):
        lines = [json.dumps({"question": f"{name} {i}?", "answer": f"#### {i}"}) for i in range(count)]
        write(tmp_path / f"{name}.jsonl", "\n".join(lines))
    fields = FieldNames(prompt="question", completion="answer")
    path = f"{tmp_path}/train.jsonl, {tmp_path}/test.jsonl"
    source = make_source(DataConfig(source="jsonl", path=path, fields=fields))
    assert len(source) == 5 and source[3].id == f"{tmp_path}/test.jsonl:1"
    assert [m.content for m in source[3].messages] == ["test 0?", "#### 0"]
