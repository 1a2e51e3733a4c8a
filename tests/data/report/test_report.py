"""What a report says of a data set = what is counted by hand, message by message and token by token."""

import html.parser
import json
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.config import Config, DataConfig, EvalConfig
from im_jax.data.report import fits
from im_jax.data.report.as_json import to_json
from im_jax.data.report.as_text import to_lines
from im_jax.data.report.build import Policy, Report, build
from im_jax.data.report.page import to_html
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import policy_weights
from im_jax.studies.registry import prepare
from im_jax.token_classes import NUM_CLASSES, TokenClass
from tests.conftest import REPOSITORY
from tests.data.synthetic import chats

REAL = REPOSITORY.parent / "shared" / "data" / "instruction_modelling"
TABLE_5 = {
    "alpagasus_3k_dolly": ("2,996", "68.08", "106.38", "43.83", "107.53", "0.6439"),
    "alpagasus_claude_t45_alpaca": ("5,305", "30.81", "34.44", "17.48", "12.45", "0.5672"),
}
"""Size, output words (sd), instruction words (sd), instruction / output, as they are printed."""


def config_for(path: Path, held: int = 0, **data: Any) -> Config:
    settings: dict[str, Any] = {"source": "jsonl", "path": str(path)} | data
    return Config(data=DataConfig(**settings), eval=EvalConfig(num_examples=held))


def report_on(config: Config) -> Report:
    config.tokenizer.path = "bytes"
    policies = [Policy(name, policy_weights(name)) for name in ("im", "it")]
    data = prepare(config, make_tokenizer("bytes"), policies[0].weights)
    return build(config, data, policies)


def written(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def words_of(records: list[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {"instruction": [], "output": []}
    for record in records:
        for name, wanted in (("instruction", False), ("output", True)):
            texts = [m["content"] for m in record["messages"] if (m["role"] == "assistant") is wanted]
            found[name].append(sum(len(text.split()) + 1 for text in texts))
    return found


@pytest.mark.parametrize("truncation", ["right", "keep_output", "drop"])
def test_words_are_those_of_every_record_whatever_is_cut_or_dropped(tmp_path: Path, truncation: str) -> None:
    records = [{"messages": chat} for chat in chats(200)]
    path = written(tmp_path / "chats.jsonl", records)
    report = to_json(report_on(config_for(path, 20, max_length=130, truncation=truncation)))
    expected = words_of(records)
    for name, numbers in expected.items():
        found = report["words"][name]
        assert found["examples"] == len(records)
        assert found["mean"] == pytest.approx(statistics.fmean(numbers))
        assert found["sd"] == pytest.approx(statistics.pstdev(numbers))
        assert found["median"] == statistics.median(numbers)
        assert sum(found["histogram"]["counts"]) == len(records)
    ratio = statistics.fmean(expected["instruction"]) / statistics.fmean(expected["output"])
    assert report["words"]["ratio"] == pytest.approx(ratio)
    assert report["words"]["inverse_ratio"] == pytest.approx(1 / ratio)
    answers = Counter(sum(m["role"] == "assistant" for m in record["messages"]) for record in records)
    assert report["turns"]["mean"] == pytest.approx(sum(k * v for k, v in answers.items()) / len(records))
    assert report["lengths"]["examples"] == len(records) and report["lengths"]["above"] > 0


@pytest.mark.parametrize("truncation", ["right", "keep_output", "drop"])
@pytest.mark.parametrize("drop", [True, False])
def test_each_record_has_one_fate(tmp_path: Path, truncation: str, drop: bool) -> None:
    path = written(tmp_path / "chats.jsonl", [{"messages": chat} for chat in chats(200)])
    settings = {"max_length": 90, "truncation": truncation, "drop_without_output": drop}
    config = config_for(path, **settings)
    report = report_on(config)
    data = prepare(config, make_tokenizer("bytes"), policy_weights("im"))
    fates = Counter[str]()
    tokens, targets = (np.zeros(NUM_CLASSES, int) for _ in range(2))
    sides: dict[str, list[int]] = {"instruction": [], "output": []}
    whole = prepare(config_for(path, max_length=10_000), make_tokenizer("bytes"), policy_weights("im")).train
    full = {whole[i].id: len(whole[i].tokens) for i in range(len(whole))}
    for i in range(len(data.train)):
        example = data.train[i]
        classes = example.classes.tolist()
        tokens += np.bincount(classes, minlength=NUM_CLASSES)
        targets += np.bincount(classes[1:], minlength=NUM_CLASSES)
        mains = [TokenClass(c).main for c in classes]
        output = sum(c in (TokenClass.ASSISTANT, TokenClass.STOP) for c in mains)
        sides["output"].append(output)
        sides["instruction"].append(sum(c in (TokenClass.SYSTEM, TokenClass.USER) for c in mains))
        if len(classes) == full[example.id]:
            fates["whole"] += 1
        elif TokenClass.LAST_STOP in classes:
            fates["instruction_cut"] += 1
        else:
            fates["answer_cut" if output else "answer_lost"] += 1
    found = to_json(report)
    records = found["records"]
    assert {k: records[k] for k in ("whole", "instruction_cut", "answer_cut", "answer_lost")} == {
        k: fates[k] for k in ("whole", "instruction_cut", "answer_cut", "answer_lost")
    }
    assert sum(count for key, count in records.items() if key not in ("total", "kept")) == 200
    assert found["lengths"]["above"] == sum(length > 90 for length in full.values())
    np.testing.assert_array_equal(report.measured.tokens, tokens)
    np.testing.assert_array_equal(report.measured.targets, targets)
    for name, numbers in sides.items():
        assert found["tokens"][name]["mean"] == pytest.approx(statistics.fmean(numbers))
    for policy in ("im", "it"):
        trained = int((policy_weights(policy)[np.arange(NUM_CLASSES)] > 0) @ targets)
        assert found["trained"][policy]["tokens"] == trained


def test_repeated_examples_and_leaks_are_counted(tmp_path: Path) -> None:
    def pair(prompt: str, completion: str) -> dict[str, str]:
        return {"prompt": prompt, "completion": completion}

    train = [pair("a", "b"), pair("A ", "b"), pair("a", "c"), pair("d", "e"), pair("f", "g")]
    train += [pair("h", "i"), pair(" h", "I"), pair("h", "j")]
    held = [pair("a", "b"), pair("d", "other"), pair("new", "g")]
    config = config_for(written(tmp_path / "train.jsonl", train), 3)
    config.eval.path = str(written(tmp_path / "held.jsonl", held))
    same = to_json(report_on(config))["same"]
    counts = {
        kind: found["count"] for kind, found in same.items() if isinstance(found, dict) and "count" in found
    }
    assert {kind for kind, count in counts.items() if count} == {"twice", "prompts", "leaks", "prompt_leaks"}
    # Each counts once. The first two are held out, and the third's and the fourth's prompts are; of the last
    # three, which are not, the second repeats the first, and the third has another answer.
    assert (counts["twice"], counts["prompts"], counts["leaks"], counts["prompt_leaks"]) == (1, 1, 2, 2)
    assert same["heldout"] == {"examples": 3, "path": config.eval.path}


def test_a_mixture_is_measured_by_source(tmp_path: Path) -> None:
    parts = {
        "a": [{"messages": chat} for chat in chats(60)],
        "b": [{"prompt": "one two " * 30, "completion": "three"}] * 20,
    }
    files = {name: written(tmp_path / f"{name}.jsonl", records) for name, records in parts.items()}
    config = config_for(Path(), 10, max_length=300)
    config.data.path = ""
    config.data.mixture = "; ".join(f"{name}={path}@all" for name, path in files.items())
    report = report_on(config)
    found = to_json(report)
    expected = words_of(parts["a"])
    assert list(found["sources"]) == ["a", "b"]
    assert found["sources"]["a"]["words"]["output"]["mean"] == pytest.approx(
        statistics.fmean(expected["output"])
    )
    assert found["sources"]["b"]["words"]["instruction"]["mean"] == 61
    assert found["sources"]["b"]["words"]["ratio"] == 61 / 2
    for key in ("words", "tokens"):
        total = sum(found["sources"][name][key]["instruction"]["examples"] for name in parts)
        assert total == found[key]["instruction"]["examples"] == 80
    # Of the twenty that are one, some may be held out: the others repeat these then.
    assert found["same"]["twice"]["count"] + found["same"]["leaks"]["count"] > 0
    lines = [line.text.split() for line in to_lines(report)]
    assert ["b", "20", "61.0", "2.0", "30.50"] in [line[:5] for line in lines]
    assert "By source" in to_html(report)
    config.data.mixture = config.data.mixture.replace("b.jsonl@all", "b.jsonl@5")
    assert "<b>65</b><span>examples used of 80 records</span>" in to_html(report_on(config))


def test_the_set_is_named_above_the_figure_of_a_fit_so_that_no_dot_hides_it(tmp_path: Path) -> None:
    drawn = to_html(
        report_on(config_for(written(tmp_path / "d.jsonl", [{"prompt": "a b", "completion": "c"}] * 3)))
    )
    assert re.search(
        r'<b class="mark (left|right) limit" style="[^"]*"><u>this set</u></b><b class="dot ours', drawn
    )
    assert drawn.count(">this set<") == drawn.count('class="dot ours')


@pytest.mark.parametrize("name", sorted(TABLE_5))
def test_table_5_of_the_paper_to_the_printed_digit(name: str) -> None:
    path = REAL / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"needs {path.name} of shared/data")
    config = config_for(path, max_length=2048)
    config.data.turns.empty = "keep"  # as the paper has four of Alpaca's answers
    report = report_on(config)
    size, *figures = TABLE_5[name]
    text = [re.split(r"\s{2,}", line.text.strip()) for line in to_lines(report)]
    rows = {row[0]: row[1:] for row in reversed(text)}
    assert [*rows["output, words"][:2], *rows["instruction, words"][:2]] == figures[:4]
    assert rows["instruction / output"][0] == figures[4]
    assert f"{report.readable:,}" == size


def test_fits_are_the_papers_and_say_where_they_end() -> None:
    ratio, size = fits.places(10.0, 2_000)
    assert ratio.gain == pytest.approx(18.85 * np.log(10) + 25.83)
    assert size.gain == pytest.approx(-39.37 * np.log(2_000) + 431.74)
    assert not ratio.extrapolated and not size.extrapolated
    ratio, size = fits.places(40.0, 2_000)
    assert ratio.extrapolated and size.extrapolated
    assert "Extrapolated" in ratio.reading and "Not for this set" in size.reading
    assert fits.places(10.0, 100_000)[1].extrapolated
    assert fits.places(None, 10) == []


HOSTILE = '<script>alert("x")</script> & \x1b[31m \u202e'


def hostile(tmp_path: Path) -> Report:
    """Of a file with a name and fields that would steer a reader's page or terminal."""
    record = {"prompt": "a b", "completion": "c", HOSTILE: "text"}
    path = written(tmp_path / "<b>&.jsonl", [record, {"prompt": HOSTILE}, {**record, "prompt": "d"}])
    return report_on(config_for(path, on_bad_example="skip"))


class Page(html.parser.HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "line", "wbr"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data if self._open[-1:] != ["style"] else ""


def test_the_page_is_whole_needs_nothing_and_runs_nothing(tmp_path: Path) -> None:
    written_page = to_html(hostile(tmp_path))
    page = Page()
    page.feed(written_page)
    page.close()
    assert not page._open
    assert not {"script", "img", "link", "iframe", "b>"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "onclick", "srcset"}
    assert "url(" not in written_page and "@import" not in written_page
    assert "\x1b" not in written_page and "\u202e" not in written_page
    assert '<script>alert("x")' in page.text and "<b>&.jsonl" in page.text
    assert "nan" not in written_page.lower().replace("inance", "")


@pytest.mark.parametrize("records", [[], [0]], ids=["nothing kept", "one example"])
def test_the_smallest_sets_have_a_report(tmp_path: Path, records: list[int]) -> None:
    long = {"prompt": "word " * 100, "completion": "b"}
    short = {"prompt": "a", "completion": "b"}
    path = written(tmp_path / "d.jsonl", [long, *(short for _ in records)])
    report = report_on(config_for(path, max_length=40))
    assert report.counts.kept == len(records)
    to_html(report)
    json.dumps(to_json(report), allow_nan=False)
    assert list(to_lines(report))


@pytest.mark.parametrize("width", [30, 40, 72, 80, 120])
@pytest.mark.parametrize("bar", ["█", "#"])
def test_lines_fit_their_width_and_steer_no_terminal(tmp_path: Path, width: int, bar: str) -> None:
    records = [{"messages": chat} for chat in chats(150)]
    reports = [report_on(config_for(written(tmp_path / "chats.jsonl", records), 20, max_length=120))]
    reports.append(hostile(tmp_path))
    for report in reports:
        lines = [line.text for line in to_lines(report, width, bar)]
        headings = {line.text for line in to_lines(report, width, bar) if line.heading}
        assert all(len(line) <= width for line in lines if line not in headings or len(headings) < 2)
        assert not any(character in line for line in lines for character in "\x1b\u202e\n")
        assert bar != "#" or "".join(lines).isascii() or report is reports[1]


def test_generated_and_rewritten_data_have_reports_too() -> None:
    generated = Config(data=DataConfig(num_generated=50), eval=EvalConfig(num_examples=20))
    assert report_on(generated).readable == 50
    rewrites = Config(data=DataConfig(source="rewrites", max_length=256), eval=EvalConfig(num_examples=30))
    rewrites.data.rewrites.num_rules, rewrites.data.rewrites.num_examples = 20, 300
    in_bulk = to_json(report_on(rewrites))
    assert in_bulk["records"]["total"] == 300 == in_bulk["words"]["output"]["examples"]
    assert in_bulk["same"]["heldout"]["examples"] == 30
