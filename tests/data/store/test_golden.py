"""What is encoded is what it was: a change of that makes sets that were kept wrong, unless `CODE` is raised."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.config import DataConfig, TurnsConfig
from im_jax.data.files import File, chunks
from im_jax.data.statistics import DataReport
from im_jax.data.store.chunk import CODE, Job
from im_jax.data.store.folder import FolderWriter

RECORDS = [
    {
        "messages": [
            {"role": "system", "content": " Be brief. "},
            {"role": "user", "content": "Hi, naïve 你好 </s>!"},
            {"role": "assistant", "content": "Hello 😀", "weight": 0.5},
            {"role": "user", "content": "Again?"},
            {"role": "assistant", "content": "Hi again.\n"},
        ]
    },
    {"prompt": "What is 2 + 3?", "completion": "5", "system": "Answer briefly.", "id": "sum-7"},
    {"instruction": "Add the numbers.", "input": "1 + 2", "output": "3", "note": "unread"},
    {"prompt": "word " * 60, "completion": "cut"},
    {"prompt": "Count.", "completion": "one two three " * 12},
    {"prompt": "", "completion": "malformed"},
]
TURNS = [
    {"messages": [{"role": role, "content": text} for role, text in turns]}
    for turns in (
        [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")],
        [("user", "a"), ("assistant", " "), ("user", "c"), ("assistant", "d")],
        [("assistant", "a"), ("user", "b"), ("user", "c"), ("assistant", "d")],
        [("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d")],
    )
]
JINJA = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{{ eos_token }}\n{% endfor %}"
EXPECTED = {
    10: {
        "tulu, right": "f4d55382cd3b3c38",
        "tulu, keep_output": "e4257fd7912ea385",
        "tulu, drop": "b4562289097d9dc9",
        "alpaca, right": "2748d68b1c288e5c",
        "alpaca, keep_output": "bb52710d10bddea4",
        "alpaca, drop": "bba50568020db157",
        "llama2, right": "debb5921d65d6193",
        "llama2, keep_output": "aad1417b4a75fd2b",
        "llama2, drop": "76419a8b86641b46",
        "jinja, right": "16a90df11a66fb68",
        "jinja, keep_output": "8533217180139ba8",
        "jinja, drop": "e3f770ce16763ab3",
        "turns, default": "1029b190f336f41c",
        "turns, skip": "dfc0596d7a9c721c",
        "turns, drop_turn": "c520cc8a93a7634e",
        "turns, others": "9dcee0dffc31152d",
    },
}


def encoded_digest(folder: Path, template: str, truncation: str) -> str:
    """Of all arrays as they are written, and of all counts."""
    (folder / "t.jinja").write_text(JINJA)
    if template == "jinja":
        template = str(folder / "t.jinja")
    data = DataConfig(max_length=150, template=template, truncation=truncation, on_bad_example="skip")
    digest, report = _digest(folder, RECORDS, data)
    counts = [
        report.skipped,
        report.without_output,
        report.too_long,
        report.truncated,
        report.special_in_content,
    ]
    digest.update(json.dumps([*counts, dict(report.unread), report.tokens.tolist()]).encode())
    return digest.hexdigest()[:16]


def turns_digest(folder: Path, turns: TurnsConfig) -> str:
    """The same of what choices on turns make of conversations."""
    digest, report = _digest(folder, TURNS, DataConfig(turns=turns, on_bad_example="skip"))
    counts = [report.skipped, dict(report.left_out_by_turns), dict(report.turn_choices)]
    digest.update(json.dumps(counts).encode())
    return digest.hexdigest()[:16]


def _digest(folder: Path, records: list[Any], data: DataConfig) -> tuple[Any, DataReport]:
    path = folder / "d.jsonl"  # read by its name alone, which is in the ids and messages
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    (chunk,) = chunks([File(path.name)], "data.path")
    encoded = Job(data, "bytes").encoder().encode(chunk)
    writer = FolderWriter(folder / "set")
    writer.add(encoded.dataset)
    writer.finish({})
    digest = hashlib.sha256()
    for file in sorted((folder / "set").glob("*.bin")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest, encoded.report


CASES = [(t, c) for t in ("tulu", "alpaca", "llama2", "jinja") for c in ("right", "keep_output", "drop")]

CHOICES = {
    "default": TurnsConfig(),
    "skip": TurnsConfig("skip", "skip", "skip", "skip"),
    "drop_turn": TurnsConfig("drop_turn", "drop_turn", "drop_turn", "drop_turn"),
    "others": TurnsConfig("keep", "drop_turn", "merge", "stop"),
}


@pytest.mark.parametrize(("template", "truncation"), CASES)
def test_examples_are_encoded_as_they_were(
    template: str, truncation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = encoded_digest(tmp_path, template, truncation)
    assert found == EXPECTED[CODE][f"{template}, {truncation}"], (
        f"{template}, {truncation} is encoded otherwise: raise CODE in im_jax/data/store/chunk.py, "
        f"and expect {found!r} under it here"
    )


@pytest.mark.parametrize("name", CHOICES)
def test_choices_on_turns_are_as_they_were(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = turns_digest(tmp_path, CHOICES[name])
    assert found == EXPECTED[CODE][f"turns, {name}"], (
        f"{name} does otherwise: raise CODE in im_jax/data/store/chunk.py, and expect {found!r} under it here"
    )


def test_the_golden_cases_are_of_this_code() -> None:
    assert max(EXPECTED) == CODE
    assert np.array([len(value) for value in EXPECTED[CODE].values()]).tolist() == [16] * (
        len(CASES) + len(CHOICES)
    )
