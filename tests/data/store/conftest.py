"""A file whose set is kept, and a count of what is encoded."""

import os
from pathlib import Path
from typing import Any

import pytest

from im_jax.data.store import sets
from tests.data.store.test_processes import write as write_conversations

COUNT = 150


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Conversations, written long ago, of which a set is kept though they are few."""
    monkeypatch.setattr(sets, "_KEPT", 1)
    whole = write_conversations(tmp_path / "d.jsonl", {5: "no json"})
    whole.write_text("".join(whole.read_text().splitlines(keepends=True)[:COUNT]))
    os.utime(whole, (1e9, 1e9))
    return whole


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every set that is encoded."""
    seen: list[int] = []
    before = sets.encode_all

    def counting(*args: Any) -> Any:
        seen.append(1)
        return before(*args)

    monkeypatch.setattr(sets, "encode_all", counting)
    return seen
