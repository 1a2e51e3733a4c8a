"""The benchmark of preparation: the records of all contestants, and the command line."""

import json
from pathlib import Path

import pytest

from im_jax.bench import options
from im_jax.bench.case import Case
from im_jax.bench.contestants import prepare_im_jax, prepare_records
from im_jax.errors import ConfigError
from tests.data.synthetic import chats


def tulu(chat: list[dict[str, str]]) -> str:
    """The text of a chat, by the format's definition."""
    return "\n".join(
        f"<|{m['role']}|>\n{m['content'].strip()}{'</s>' if m['role'] == 'assistant' else ''}" for m in chat
    )


def test_the_records_of_the_files_are_repeated_and_prepared(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = [json.dumps({"messages": messages}) for messages in chats(20)]
    path.write_text("\n".join([*lines, "no json"]))
    case = Case("prepare", (50, 512), "", checkpoint=str(tmp_path), data=str(path), tokenizer="bytes")
    assert prepare_records.make(case, "").values() == {"examples": 50}
    written = Path(prepare_records.records_file(case)).read_text().splitlines()
    assert [json.loads(line) for line in written] == [json.loads(lines[i % 20]) for i in range(50)]
    contestant = prepare_im_jax.make(case, "")
    contestant.call()
    values = contestant.values()
    with_bos = (f"<s>{tulu(chats(20)[i % 20])}" for i in range(50))
    tokens = sum(len(text.encode()) - 2 * text.count("<s>") - 3 * text.count("</s>") for text in with_bos)
    assert values["examples"] == 50 and values["tokens"] == tokens and 0 < values["rows"] < 50
    contestant.call()
    assert contestant.values() == values


def test_the_command_line() -> None:
    found = options.parse(["bench", "prepare", "--data=a.jsonl", "--tokenizers=a,b", "--shape=9x7"]).cases
    assert [(case.tokenizer, case.shape, case.data) for case in found] == [
        (t, (9, 7), "a.jsonl") for t in "ab"
    ]
    with pytest.raises(ConfigError, match="--data names no file"):
        options.parse(["bench", "prepare"])
