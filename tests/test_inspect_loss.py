"""The command that shows what carries loss, in its three formats."""

import html.parser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.data.templates.families import FAMILIES

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is 1 < 2?"},
    {"role": "assistant", "content": "Yes."},
]
TRAINED = {
    "it": "Yes.</s>",
    "im": "Be brief.Is 1 < 2?Yes.</s>",
    "im_released": "Be brief.\n<|user|>\nIs 1 < 2?\n<|assistant|>\nYes.</s>",
    "all": "<|system|>\nBe brief.\n<|user|>\nIs 1 < 2?\n<|assistant|>\nYes.</s>",
}


def inspect(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"id": "first", "messages": MESSAGES}) + "\n")
    command = [sys.executable, "-m", "im_jax.inspect_loss", "--config=configs/tiny_llama.py"]
    command += [f"--config.data.path={path}", *flags]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "100"}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


def test_a_schedule_is_named_with_the_largest_weights(tmp_path: Path) -> None:
    schedule = "--config.loss.schedule=user:0.5..0@50%, assistant:1..2"
    done = inspect(tmp_path, "--config.loss.policy=it", schedule)
    title, _, rest = done.stdout.partition("example first")
    named = "weights are the largest of loss.schedule=user:0.5..0@50%, assistant:1..2"
    assert named in " ".join(title.split())
    lines = rest.partition("All examples")[0].splitlines()
    weights = {words[0]: words[1] for line in lines if len(words := line.split()) > 2}
    expected = {"user": "0.5", "assistant": "2", "stop": "1", "system": "0"}
    assert {label: weights[label] for label in expected} == expected


@pytest.mark.parametrize("policy", sorted(TRAINED))
def test_json_lines_tell_tokens_classes_and_weights(tmp_path: Path, policy: str) -> None:
    done = inspect(tmp_path, "--format=jsonl", f"--config.loss.policy={policy}")
    assert done.returncode == 0, done.stderr
    (record,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(record) == {"id", "tokens", "pieces", "classes", "weights"}
    assert record["id"] == "first"
    columns = [record[name] for name in ("tokens", "pieces", "classes", "weights")]
    assert len({len(column) for column in columns}) == 1
    trained = [piece for piece, weight in zip(record["pieces"], record["weights"], strict=True) if weight]
    assert "".join(trained) == TRAINED[policy]
    assert record["classes"][0] == "bos" and record["weights"][0] == 0
    assert set(record["classes"]) == {"bos", "header", "system", "user", "assistant", "stop", "separator"}


def test_own_weights_are_shown(tmp_path: Path) -> None:
    done = inspect(tmp_path, "--format=jsonl", "--config.loss.weights.user=0.2")
    record = json.loads(done.stdout)
    weights = {c: w for c, w in zip(record["classes"], record["weights"], strict=True)}
    assert (weights["user"], weights["assistant"], weights["header"]) == (0.2, 1.0, 0.0)


def test_text_shows_runs_and_totals(tmp_path: Path) -> None:
    done = inspect(tmp_path, "--config.loss.policy=im")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["system", "1", "Be", "brief."] in lines
    assert ["user", "1", "Is", "1", "<", "2?"] in lines
    assert ["stop", "1", "</s>"] in lines
    assert any(line[:2] == ["truncated", "0"] for line in lines)
    assert any(line[:3] == ["examples", "kept", "1"] for line in lines)


class PageReader(html.parser.HTMLParser):
    """Text of the tokens of a page, those that carry loss apart."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.everything, self._open = "", "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._open = attributes.get("class") or "" if "title" in attributes else ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.everything += data
            self.trained += data if "trained" in self._open else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def test_page_marks_what_carries_loss(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = inspect(tmp_path, "--format=html", f"--output={page}", "--config.loss.policy=im")
    assert done.returncode == 0, done.stderr
    reader = PageReader()
    reader.feed(page.read_text())
    assert reader.trained == TRAINED["im"]
    assert reader.everything.replace("↵", "") == "<s>" + TRAINED["all"]
    assert str(page) in done.stdout.replace("\n", "")


def test_unwritable_output_is_one_line(tmp_path: Path) -> None:
    done = inspect(tmp_path, f"--output={tmp_path}/no/where.txt")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --output=") and len(done.stderr.splitlines()) == 1


def test_thoughts_and_calls_of_a_real_looking_record_are_told_apart(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Hull"}'}}
    record = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Tide at Hull?"}]},
            {"role": "assistant", "content": None, "reasoning_content": "Ask.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "high"},
            {"role": "assistant", "content": "It is high."},
        ],
        "tools": [{"type": "function", "function": {"name": "tide"}}],
    }
    path, template = tmp_path / "tools.jsonl", tmp_path / "qwen3.jinja"
    path.write_text(json.dumps(record))
    template.write_text(FAMILIES["Qwen3"].source)
    flags = (f"--config.data.path={path}", f"--config.data.template={template}", "--format=jsonl")
    done = inspect(tmp_path, *flags, "--config.data.max_length=1024", "--config.tokenizer.path=bytes")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    texts: dict[str, str] = {}
    for piece, token_class in zip(shown["pieces"], shown["classes"], strict=True):
        texts[token_class] = texts.get(token_class, "") + piece
    assert texts["system"] == "Be brief." and texts["user"] == "Tide at Hull?" and texts["tool"] == "high"
    assert texts["thought"] == "Ask." and texts["tool_call"] == 'tide", "arguments": {"port": "Hull"}'
    assert texts["stop"] == "<|im_end|>" * 2
    assert texts["assistant"].endswith("<think>\n\n</think>\n\nIt is high.")
    assert '"name": "tide"' in texts["header"] + texts["separator"]
    page = inspect(tmp_path, *flags[:2], "--format=html", "--config.data.max_length=1024").stdout
    assert all(f"{name}</span> 1</li>" in page for name in ("thought", "tool_call", "assistant"))
