"""Small local data sets in the formats that `--local_data` reads, made up."""

import csv
import gzip
import json
from pathlib import Path

WORDS = ("red", "green", "blue", "old", "small", "round", "warm", "quiet")


def write_local_data(folder: Path, items: int = 4) -> Path:
    """All data sets, with so many items each; returns the folder."""
    numbers = range(items)
    for split in ("dev", "test"):
        path = folder / "mmlu" / split / f"anatomy_{split}.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["question", *(f"choice{k}" for k in range(4)), "answer"])
            rows.writerows([f"Which, {split} {n}?\nSay.", *WORDS[:4], n % 4] for n in numbers)
    for name in ("ARC-Easy", "ARC-Challenge", "openbookqa"):
        for split in ("train", "test"):
            _adapters(
                folder / "commonsense" / name / f"{split}.json.gz", [_options(n, split) for n in numbers]
            )
    blanks = [_blank(n) for n in numbers]
    _adapters(folder / "commonsense" / "winogrande" / "test.json.gz", blanks)
    _adapters(folder / "commonsense" / "boolq" / "test.json.gz", [_true(n) for n in numbers])
    _adapters(folder / "piqa" / "test.json", [_solution(n) for n in numbers])
    _wsc(folder / "wsc" / "WSCollection.xml")
    for name in ("train.jsonl", "test.jsonl"):
        lines = [
            {"question": f"What is {n} + 2?", "answer": f"{n} + 2 = {n + 2}\n#### {n + 2}"} for n in numbers
        ]
        _write(folder / "gsm8k" / name, "".join(json.dumps(line) + "\n" for line in lines))
    truths = [_truth(n) for n in numbers]
    _write(folder / "truthfulqa" / "v1" / "mc_task.json", json.dumps(truths))
    examples = [{"input": f"Is it (A) or (B), {n}?", "target": "(A)"} for n in numbers]
    _write(folder / "bbh" / "bbh" / "snarks.json", json.dumps({"canary": "no", "examples": examples}))
    asked = [
        {
            "key": n,
            "prompt": f"Say {n}, no comma.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        }
        for n in numbers
    ]
    _write(folder / "ifeval" / "input_data.jsonl", "".join(json.dumps(line) + "\n" for line in asked))
    return folder


def _options(n: int, split: str) -> dict[str, str]:
    count = 3 + n % 3
    options = " ".join(f"Answer{k + 1}: {WORDS[(n + k) % 8]} {split}" for k in range(count))
    answers = "/".join(f"answer{k + 1}" for k in range(count))
    text = f"Please choose the correct answer to the question: What of {n}?\n\n{options}\n\nAnswer format: {answers}"
    return {"instruction": text, "input": "", "output": "", "answer": f"answer{1 + n % count}"}


def _blank(n: int) -> dict[str, str]:
    asked = "Please choose the correct answer to fill in the blank to complete the given sentence: "
    text = f"{asked}The {WORDS[n]} one saw the other, so _ ran {n}.\n\nOption1: Ann Option2: Bob Answer format: option1/option2"
    return {"instruction": text, "input": "", "output": "", "answer": f"option{1 + n % 2}"}


def _true(n: int) -> dict[str, str]:
    asked = "Please answer the following question with true or false, question: "
    text = f"{asked}is {n} a number?\n\nAnswer format: true/false"
    return {"instruction": text, "input": "", "output": "", "answer": ("true", "false")[n % 2]}


def _solution(n: int) -> dict[str, str]:
    text = (
        f"Please choose the correct solution to the question: paint it {WORDS[n]}\n\nSolution1: use a brush \n\n"
        f"Solution2: use {n} brushes and water\n\nAnswer format: solution1/solution2"
    )
    return {"instruction": text, "input": "", "output": "", "answer": f"solution{1 + n % 2}"}


def _truth(n: int) -> dict[str, object]:
    choices = {f"It is {WORDS[n]}.": 1, "Nobody knows.": 0, "It is not.": 0}
    return {
        "question": f"How is {n}?",
        "mc1_targets": choices,
        "mc2_targets": choices | {f"It looks {WORDS[n]}.": 1},
    }


def _wsc(path: Path) -> None:
    schemas = []
    for n in range(275):
        kind = WORDS[n // 2 % 8]
        schemas.append(
            f"<schema><text><txt1>\nThe {kind} box  {n // 2} is not in the {kind} bag because</txt1><pron> it </pron>"
            f"<txt2> is too {('large', 'small')[n % 2]}. \n</txt2></text><answers><answer>The {kind} box </answer>"
            f"<answer>the {kind} bag </answer></answers><correctAnswer> {'AB'[n % 2]}. </correctAnswer></schema>"
        )
    _write(path, f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<collection>{"".join(schemas)}</collection>')


def _adapters(path: Path, records: list[dict[str, str]]) -> None:
    _write(path, json.dumps(records))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
