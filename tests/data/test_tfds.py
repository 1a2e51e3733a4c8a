"""A prepared TFDS data set gives the same conversations as the files it was made from, without TensorFlow."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from im_jax.config import DataConfig, FieldNames
from im_jax.data.builders import dataset
from im_jax.data.jsonl import CheckedRecords, JsonlSource
from im_jax.data.records import DEFAULT_FIELDS
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.sources import Source, make_source
from im_jax.data.tfds_source import TfdsSplit
from im_jax.errors import DataError, UserError
from tests.data import synthetic
from tests.stand_in_gcs import StandIn, stand_in_asked

REPOSITORY = Path(__file__).parents[2]
RECORDS: list[dict[str, Any]] = [
    {"prompt": "Grüße auf 漢字 🙂", "completion": "Hi"},
    {"id": 3, "instruction": "Add.", "input": "1 + 2", "output": "3", "system": "Be brief."},
    {
        "id": "turns",
        "messages": [
            {"role": "user", "content": "a", "weight": 0.1},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": " c\n", "input": "d"},
            {"role": "assistant", "content": "e", "weight": 0},
        ],
    },
    {
        "id": "tools",
        "messages": [
            {"role": "developer", "content": ["Be ", "brief."]},
            {"role": "user", "content": "Tide?"},
            {
                "role": "assistant",
                "content": None,
                "reasoning": " Ask é. ",
                "tool_calls": [
                    {"id": "c1", "function": {"name": "tide", "arguments": '{"port":  "Hüll"}'}},
                    {"name": "now", "arguments": {"zone": 1.50, "none": None}},
                ],
            },
            {"role": "tool", "content": "", "name": "tide", "tool_call_id": "c1"},
            {"role": "function", "content": "Noon.", "name": "now"},
            {"role": "assistant", "content": "Unknown.", "thinking": "Hm."},
        ],
        "tools": [{"name": "tide", "default": None, "description": "Tïde."}, {"name": "now"}],
    },
]


def tfds_source(
    name: str,
    data_dir: str,
    split: str = "train",
    fields: FieldNames = DEFAULT_FIELDS,
    on_bad_example: str = "stop",
) -> CheckedRecords:
    """The conversations of a split."""
    opened = TfdsSplit(name, data_dir, split)
    source = CheckedRecords(opened.chunks(), opened.place, fields, on_bad_example)
    assert len(opened) == len(source) + len(source.skipped)
    return source


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return str(path)


def contents(source: Source) -> list[tuple[str, tuple[Message, ...], tuple[str, ...]]]:
    return [(source[i].id, source[i].messages, source[i].tools) for i in range(len(source))]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("files")
    many = [{"prompt": f"Count to {i}.", "completion": str(i)} for i in range(200)]
    return {
        "train": write(directory / "train.jsonl", RECORDS + many),
        "test": write(directory / "test.jsonl", RECORDS[:1]),
    }


@pytest.fixture(scope="module")
def data_dir(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tfds")
    dataset.prepare(files, directory)
    return directory


def test_a_prepared_set_equals_its_files_in_content_and_order(files: dict[str, str], data_dir: Path) -> None:
    for split, path in files.items():
        source = make_source(
            DataConfig(source="tfds", name="instruction_jsonl", path=str(data_dir), split=split)
        )
        assert contents(source) == contents(JsonlSource(path))
    assert source[0].origin == "instruction_jsonl/1.1.0/test:0"


def test_thoughts_calls_and_tools_are_those_of_the_file(files: dict[str, str], data_dir: Path) -> None:
    prepared = tfds_source("instruction_jsonl", str(data_dir))[3]
    read = JsonlSource(files["train"])[3]
    assert (prepared.messages, prepared.tools, prepared.unread) == (read.messages, read.tools, ())
    assert [len(message.tool_calls) for message in read.messages] == [0, 0, 2, 0, 0, 0]
    assert [bool(message.thought) for message in read.messages] == [False, False, True, False, False, True]
    assert len(read.tools) == 2


def test_real_records_survive_the_round_trip(shared_data: Path, tmp_path: Path) -> None:
    dolly = shared_data / "instruction_modelling" / "alpagasus_3k_dolly.jsonl.gz"
    path = tmp_path / "dolly.jsonl"
    path.write_bytes(b"\n".join(gzip.decompress(dolly.read_bytes()).splitlines()[:500]))
    dataset.prepare(str(path), tmp_path)
    source = tfds_source("instruction_jsonl", str(tmp_path))
    assert len(source) == 500
    assert contents(source) == contents(JsonlSource(path))


def test_chats_made_here_survive_the_round_trip(tmp_path: Path) -> None:
    """Several turns and system texts, from a gzipped file, every text and its order."""
    chats = synthetic.chats(300)
    path = tmp_path / "chats.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps({"messages": chat}) for chat in chats).encode()))
    dataset.prepare(str(path), tmp_path)
    source = tfds_source("instruction_jsonl", str(tmp_path))
    assert [[{"role": m.role, "content": m.content} for m in c.messages] for c in source] == chats
    assert contents(source) == contents(JsonlSource(path))
    assert {len(chat) for chat in chats} >= {2, 3, 4, 5}


def test_a_part_of_a_split_can_be_read(data_dir: Path) -> None:
    source = tfds_source("instruction_jsonl:1.1.0", str(data_dir), "train[10:20]")
    assert [c.messages[1].content for c in source] == [str(i) for i in range(6, 16)]


@pytest.fixture
def bucket() -> Iterator[StandIn]:
    pytest.importorskip("gcsfs", reason="needs the extra `gs`")
    with stand_in_asked() as store:
        yield store


def test_a_set_in_a_bucket_is_that_on_the_disk(bucket: StandIn, data_dir: Path) -> None:
    there = tfds_source("instruction_jsonl", bucket.put_folder(data_dir, "bucket/open"))
    assert contents(there) == contents(tfds_source("instruction_jsonl", str(data_dir)))


def test_a_bucket_that_may_not_be_read_says_so_in_a_line(bucket: StandIn, data_dir: Path) -> None:
    at = bucket.put_folder(data_dir, "bucket/closed")
    bucket.refuse = lambda method, bucket, name: 403
    with pytest.raises(UserError, match=r"gs://bucket/closed.*roles/storage\.objectViewer") as caught:
        tfds_source("instruction_jsonl", at)
    assert "\n" not in str(caught.value)
    bucket.refuse = lambda method, bucket, name: 403 if "array_record" in name and method == "GET" else 0
    with pytest.raises(UserError, match=r"cannot be read \(.*\); log in \(gcloud") as caught:
        tfds_source("instruction_jsonl", at)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_named_with_what_to_do(data_dir: Path) -> None:
    with pytest.raises(DataError, match=r"no TFDS data set 'gsm8k' is prepared in .*download_and_prepare"):
        tfds_source("gsm8k", str(data_dir))
    with pytest.raises(DataError, match=r"no split 'validation'; it has: test, train"):
        tfds_source("instruction_jsonl", str(data_dir), "validation")
    with pytest.raises(DataError, match=r"data.name: 'not a name!' cannot be opened"):
        tfds_source("not a name!", str(data_dir))


def test_preparing_the_same_files_again_is_free_and_other_files_are_refused(
    files: dict[str, str], data_dir: Path, tmp_path: Path
) -> None:
    assert dataset.prepare(files, data_dir).info.splits["train"].num_examples == 204
    other = write(tmp_path / "other.jsonl", RECORDS[:2])
    with pytest.raises(DataError, match=r"holds other conversations .*choose another data_dir"):
        dataset.prepare(other, data_dir)
    with pytest.raises(DataError, match="holds other conversations"):
        dataset.prepare({"train": files["train"]}, data_dir)


class Foreign(tfds.core.GeneratorBasedBuilder):
    """A TFDS data set as others make them: its own field names, text as bytes, bad records among them."""

    VERSION = tfds.core.Version("2.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        turns = tfds.features.Sequence({"role": text, "content": text})
        features = tfds.features.FeaturesDict(
            {"question": text, "answer": text, "turns": turns, "n": np.int64}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: object) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (question, answer) in enumerate([("é?", "yes"), ("", "no"), ("b?", "no"), (b"\xff", "no")]):
            roles = ["user", "assistant", "user", "assistant"][: 2 * i]
            turns = [{"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles)]
            yield i, {"question": question, "answer": answer, "turns": turns, "n": i}


@pytest.fixture(scope="module")
def foreign_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = str(tmp_path_factory.mktemp("foreign"))
    Foreign(data_dir=directory, file_format="array_record").download_and_prepare()
    return directory


def test_any_data_set_is_read_through_field_names_and_bad_records_are_named(foreign_dir: str) -> None:
    fields = FieldNames(prompt="question", completion="answer")
    source = tfds_source("foreign", foreign_dir, fields=fields, on_bad_example="skip")
    expected = (Message("user", "é?"), Message("assistant", "yes"))
    assert source[0] == Conversation("foreign/2.1.0/train:0", expected, "foreign/2.1.0/train:0")
    assert [c.messages[0].content for c in source] == ["é?", "b?"]
    assert source[1].id == "foreign/2.1.0/train:2"
    assert "foreign/2.1.0/train:1: field `question` is empty" in source.skipped[0]
    assert "foreign/2.1.0/train:3: holds bytes that are not UTF-8: b'\\xff'" in source.skipped[1]
    with pytest.raises(DataError, match=r"foreign/2.1.0/train:1: field `question` is empty"):
        tfds_source("foreign", foreign_dir, fields=fields)


def test_a_sequence_of_messages_is_read_as_a_list_of_them(foreign_dir: str) -> None:
    source = tfds_source("foreign", foreign_dir, fields=FieldNames(messages="turns"), on_bad_example="skip")
    assert [len(c.messages) for c in source] == [2, 4]
    assert source[1].messages[3] == Message("assistant", "assistant 3")
    assert "foreign/2.1.0/train:0: field `turns` is the list []" in source.skipped[0]


def test_a_set_without_random_access_says_how_to_prepare_it(tmp_path: Path) -> None:
    directory = tmp_path / "foreign" / "2.1.0"
    Foreign(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(DataError, match=r"stored as tfrecord.*file_format='array_record'"):
        tfds_source("foreign", str(tmp_path))


def run_command(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "im_jax.data.builders.instruction_jsonl", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


def test_the_command_prepares_and_says_how_to_train_on_it(files: dict[str, str], tmp_path: Path) -> None:
    flags = (f"--path={files['train']}", f"--split=test={files['test']}", f"--data_dir={tmp_path}")
    result = run_command(*flags)
    assert result.returncode == 0, result.stderr
    assert "train: 204 examples, 0 skipped\ntest: 1 example, 0 skipped\n" in result.stdout
    assert "Unknown size" not in result.stdout + result.stderr
    advice = f"--config.data.source=tfds --config.data.name=instruction_jsonl --config.data.path={tmp_path}"
    assert advice in result.stdout
    assert len(tfds_source("instruction_jsonl", str(tmp_path), "test")) == 1


def test_the_command_chooses_what_becomes_of_turns_and_says_what_reads_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        [
            {"prompt": "a", "completion": ""},
            {"messages": [{"role": role, "content": "x"} for role in ("assistant", "user", "assistant")]},
            {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]},
        ],
    )
    flags = (f"--path={path}", f"--data_dir={tmp_path}", "--turns.first_assistant=drop_turn")
    refused = run_command(*flags)
    assert refused.returncode == 2 and "(--turns.empty=skip, drop_turn or keep decides it; " in refused.stderr
    result = run_command(*flags, "--turns.empty=keep", "--turns.last_user=skip")
    assert "  turns: an empty turn kept in 1, turns before the user's first left out in 1\n" in result.stdout
    assert "  left out: 1 that end with the user\n" in result.stdout
    assert f"--config.data.path={tmp_path} --config.data.turns.empty=keep\n" in result.stdout
    data = DataConfig(source="tfds", name="instruction_jsonl", path=str(tmp_path))
    with pytest.raises(DataError, match=r"train:0: field `messages\[1\]\.content` is empty: ''"):
        make_source(data)
    for empty, count in (("keep", 2), ("skip", 1)):
        data.turns.empty = empty
        source = make_source(data)
        assert len(source) == count and sum(source.left_out.values()) == 2 - count
    kept = contents(make_source(data))
    expected = (Message("user", "x"), Message("assistant", "x"))
    assert [each[1] for each in kept] == [expected]


def test_the_command_shows_a_mistake_in_one_line_with_its_own_flags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"query": "a", "solution": "b"}])
    result = run_command(f"--path={path}", f"--data_dir={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {path}:1: needs `messages`")
    assert "set --fields.prompt=query --fields.completion=solution" in result.stderr
    assert result.stderr.count("\n") == 1


def test_neither_tensorflow_nor_jax_is_imported(files: dict[str, str], tmp_path: Path) -> None:
    program = f"""
import sys
from im_jax.data.builders.dataset import prepare
from im_jax.data.sources import make_source
from im_jax.config import DataConfig
prepare({files["test"]!r}, {str(tmp_path)!r})
data = DataConfig(source="tfds", name="instruction_jsonl", path={str(tmp_path)!r})
assert make_source(data)[0].messages
assert not {{"tensorflow", "jax"}} & set(sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
