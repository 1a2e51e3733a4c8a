"""What is trained and held out of mixtures, subsets and sets with duplicates, against counts done by hand."""

import collections
import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from im_jax.config import Config, DataConfig, EvalConfig, FieldNames, SubsetConfig
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.selection import shared_out
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.losses.policy import policy_weights

WORDS = ["red", "blue", "green", "old", "new", "small", "large", "quiet", "open", "early"]


def records(count: int, seed: int, **more: Any) -> list[dict[str, Any]]:
    """Different questions and answers of one to twelve words."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = [" ".join(rng.choice(WORDS, int(rng.integers(1, 13)))) for _ in range(2)]
        made.append({"prompt": f"{seed} {number} {words[0]}", "completion": words[1]} | more)
    return made


def write(path: pathlib.Path, made: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in made), encoding="utf-8")
    return str(path)


def prepared(held_out: int = 0, eval_path: str = "", **data: Any) -> Prepared:
    settings: dict[str, Any] = {"source": "jsonl", "max_length": 400} | data
    config = Config(data=DataConfig(**settings), eval=EvalConfig(path=eval_path, num_examples=held_out))
    return prepare(config, make_tokenizer("bytes"), policy_weights("it"))


def ids(dataset: Any) -> list[str]:
    return [dataset[number].id for number in range(len(dataset))]


def names(dataset: Any) -> collections.Counter[str]:
    return collections.Counter(name.partition("/")[0] for name in ids(dataset))


@pytest.fixture
def four(tmp_path: pathlib.Path) -> str:
    """A mixture of four sources by all kinds of amounts."""
    paths = {
        name: write(tmp_path / f"{name}.jsonl", records(count, seed))
        for seed, (name, count) in enumerate({"a": 40, "b": 30, "c": 20, "d": 8}.items())
    }
    return f"a={paths['a']}@all; b={paths['b']}@12\nc={paths['c']}@x0.5;d={paths['d']}@x2"


def test_a_mixture_has_of_each_source_what_it_asks_for(four: str) -> None:
    data = prepared(mixture=four)
    assert names(data.train) == {"a": 40, "b": 12, "c": 10, "d": 16}
    counts = collections.Counter(ids(data.train))
    assert {count for name, count in counts.items() if name.startswith("d/")} == {2}
    assert {count for name, count in counts.items() if not name.startswith("d/")} == {1}
    assert [share.trained for share in data.shares.values()] == [40, 12, 10, 8]
    assert data.shares["d"].occurrences == 16
    assert data.report.kept == 98, "counts are over whole sources"
    assert "  b: 12 trained; of 30 examples, 12" in data.summary()
    assert "  d: 8 trained, 16 times; of 8 examples, x2" in data.summary()


def test_rows_of_a_mixture_hold_the_tokens_of_the_files(four: str, tmp_path: pathlib.Path) -> None:
    data = prepared(mixture=four)
    texts = collections.Counter()
    tokenizer = make_tokenizer("bytes")
    for number in range(len(data.train_rows)):
        row = data.train_rows[number]
        for segment in range(1, int(row.segments.max()) + 1):
            texts[tokenizer.decode(row.tokens[row.segments == segment], skip_special=True)] += 1
    expected = collections.Counter()
    for name, count in collections.Counter(ids(data.train)).items():
        source, _, place = name.partition("/")
        path, _, line = place.rpartition(":")
        record = json.loads(pathlib.Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1])
        assert pathlib.Path(path).stem == source
        expected[f"<|user|>\n{record['prompt']}\n<|assistant|>\n{record['completion']}"] += count
    assert texts == expected


def test_what_a_source_gives_does_not_depend_on_the_others(four: str) -> None:
    first, *_ = four.replace("\n", ";").split(";")
    both = prepared(mixture=four)
    alone = prepared(mixture=four.replace(first + ";", ""))
    assert [name for name in ids(both.train) if name[0] != "a"] == ids(alone.train)
    assert ids(prepared(mixture=four).train) == ids(both.train)
    assert ids(prepared(mixture=four, seed=1).train) != ids(both.train)


def test_held_out_examples_are_of_every_source_and_in_rows_of_their_own(four: str) -> None:
    data = prepared(held_out=10, mixture=four)
    assert names(data.heldout) == {"a": 6, "b": 2, "c": 1, "d": 1}
    assert not set(ids(data.train)) & set(ids(data.heldout)), "not even where an example occurs twice"
    assert names(data.train) == {"a": 34, "b": 10, "c": 9, "d": 14}
    assert list(data.heldout_by_source) == ["a", "b", "c", "d"]
    seen = []
    for source, rows in data.heldout_by_source.items():
        for row in rows:
            assert {name.partition("/")[0] for name in data.heldout_rows.ids(row)} == {source}
            seen += data.heldout_rows.ids(row)
    assert sorted(seen) == sorted(ids(data.heldout))
    assert len(data.heldout_rows) == sum(map(len, data.heldout_by_source.values()))


def test_held_out_numbers_are_proportional_and_complete() -> None:
    assert shared_out(10, [70, 20, 10]) == [7, 2, 1]
    assert shared_out(10, [1000, 1, 1]) == [10, 0, 0], "a source does not give its last"
    assert shared_out(10, [1000, 2, 2]) == [8, 1, 1]
    assert shared_out(2, [5, 5, 5]) in ([1, 1, 0], [0, 1, 1], [1, 0, 1])
    assert shared_out(0, [5, 5]) == [0, 0]
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 50, int(rng.integers(1, 6))).tolist()
        count = int(rng.integers(0, sum(sizes) - len(sizes) + 1))
        given = shared_out(count, sizes)
        assert sum(given) == count
        assert all(0 <= number < size for number, size in zip(given, sizes, strict=True))


def test_a_source_is_named_in_errors(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.jsonl", records(5, 0))
    with pytest.raises(ConfigError, match=r"^a has 5 usable examples, fewer than the 9 asked for"):
        prepared(mixture=f"a={path}@9")
    with pytest.raises(ConfigError, match=r"data\.recipe=lima and data\.mixture are both set"):
        prepared(mixture=f"a={path}@all", recipe="lima")
    with pytest.raises(ConfigError, match=r"there is no recipe 'limo'; did you mean lima"):
        prepared(mixture="a=recipe:limo@all")
    with pytest.raises(DataError, match=r"data\.path is empty, and the recipe lima needs its files"):
        prepared(mixture="a=recipe:lima@all")
    with pytest.raises(
        ConfigError, match=r"t is the recipe tulu_v2_parts, whose parts say how much; use @all"
    ):
        prepared(mixture="t=recipe:tulu_v2_parts@x2", path=str(tmp_path))
    with pytest.raises(ConfigError, match=r"data\.subset\.ratio=5 needs data\.subset\.examples"):
        prepared(path=path, subset=SubsetConfig(ratio=5.0))
    with pytest.raises(DataError, match=r"^data\.mixture: there is no file 'nowhere\.jsonl'; correct"):
        prepared(mixture=f"b={path}@all;a=nowhere.jsonl@all")
    with pytest.raises(DataError, match=r"^data\.mixture: no file matches 'nowhere\*'"):
        prepared(mixture=f"b={path}@all;a=nowhere*@all")
    with pytest.raises(ConfigError, match=r"data\.split is 'test', but no source is a folder"):
        prepared(mixture=f"a={path}@all", split="test")
    with pytest.raises(ConfigError, match=r"data\.fields have no effect with data\.recipe=lima"):
        prepared(recipe="lima", path=path, fields=FieldNames(prompt="q"))


def test_a_split_is_of_the_folders_of_a_mixture(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.jsonl", records(3, 0))
    (tmp_path / "b").mkdir()
    for split, count in (("train", 4), ("test", 2)):
        write(tmp_path / "b" / f"{split}-00000-of-00001.jsonl", records(count, count))
    text = f"a={path}@all;b={tmp_path / 'b'}@all"
    assert names(prepared(mixture=text).train) == {"a": 3, "b": 4}
    assert names(prepared(mixture=text, split="test").train) == {"a": 3, "b": 2}


def test_a_source_of_which_nothing_is_kept_is_refused(tmp_path: pathlib.Path) -> None:
    a = write(tmp_path / "a.jsonl", records(3, 1))
    b = write(tmp_path / "b.jsonl", [{"prompt": "word " * 99, "completion": "hi"}])
    with pytest.raises(DataError, match=r"^b: no example of it is kept \(1 without output\)"):
        prepared(mixture=f"a={a}@all;b={b}@all", max_length=100)


def test_a_field_name_may_be_of_any_source_of_a_mixture(tmp_path: pathlib.Path) -> None:
    named = [{"q": record["prompt"], "completion": record["completion"]} for record in records(3, 1)]
    outputs = [{"instruction": record["prompt"], "r": record["completion"]} for record in records(3, 2)]
    a, b = write(tmp_path / "a.jsonl", named), write(tmp_path / "b.jsonl", outputs)
    text = f"a={a}@all;b={b}@all"
    data = prepared(mixture=text, fields=FieldNames(prompt="q", output="r"))
    assert names(data.train) == {"a": 3, "b": 3}
    with pytest.raises(DataError, match=r"data\.fields\.system=s: no record of data\.mixture has it"):
        prepared(mixture=text, fields=FieldNames(prompt="q", output="r", system="s"))


def test_subsets_by_number_and_ratio(tmp_path: pathlib.Path) -> None:
    made = records(60, 0)
    path = write(tmp_path / "a.jsonl", made)
    ratios = {
        f"{path}:{number}": (len(record["prompt"].split()) + 1) / (len(record["completion"].split()) + 1)
        for number, record in enumerate(made, start=1)
    }
    chosen = ids(prepared(path=path, subset=SubsetConfig(examples=15, ratio=3.0)).train)
    distances = sorted(abs(ratio - 3.0) for ratio in ratios.values())
    assert sorted(abs(ratios[name] - 3.0) for name in chosen) == distances[:15]
    small, large = (ids(prepared(path=path, subset=SubsetConfig(examples=n)).train) for n in (10, 30))
    assert len(small) == 10 and set(small) < set(large)
    assert small == sorted(small, key=lambda name: int(name.rpartition(":")[2])), "in the order of the file"
    data = prepared(path=path, held_out=5, subset=SubsetConfig(examples=20))
    assert (len(data.train), len(data.heldout)) == (15, 5)


def test_subset_of_a_mixture_is_drawn_from_all_of_it(four: str) -> None:
    data = prepared(mixture=four, subset=SubsetConfig(examples=30))
    assert len(set(ids(data.train))) == 30
    assert len(names(data.train)) > 1


DOUBLES = [
    {"prompt": "Name a colour.", "completion": "Red."},
    {"prompt": "name  a COLOUR.\n", "completion": "red."},  # the same
    {"prompt": "Name a colour.", "completion": "Blue."},  # another answer
    {"prompt": "Tell me in one long sentence what the weather is like in the north.", "completion": "Cold."},
    {
        "prompt": "Tell me in one long sentence what the weather is like in the north!",
        "completion": "Wet.",
    },  # near
    {"prompt": "Add 1 and 2.", "completion": "3"},
]


@pytest.mark.parametrize(
    ("deduplicate", "kept"), [("none", [1, 2, 3, 4, 5, 6]), ("exact", [1, 3, 4, 5, 6]), ("near", [1, 4, 6])]
)
def test_duplicates_are_found_and_go_as_asked(
    deduplicate: str, kept: list[int], tmp_path: pathlib.Path
) -> None:
    data = prepared(path=write(tmp_path / "d.jsonl", DOUBLES), deduplicate=deduplicate)
    assert [int(name.rpartition(":")[2]) for name in ids(data.train)] == kept
    report = data.duplicates
    assert report is not None
    assert (report.twice.count, report.prompts.count) == (1, 1)
    assert report.near.count == (1 if deduplicate == "near" else 0)
    assert report.removed.total() == 6 - len(kept)
    path = tmp_path / "d.jsonl"
    said = r"  the same example twice in a source: 1 \(\S*d\.jsonl:2 as \S*d\.jsonl:1\)\n"
    assert re.search(said, data.summary())
    assert data.as_dict()["duplicates"]["twice"]["pairs"] == [[f"{path}:2", f"{path}:1"]]


def test_held_out_examples_win_over_training_ones(tmp_path: pathlib.Path) -> None:
    train = write(tmp_path / "train.jsonl", [*records(4, 0), *DOUBLES])
    held = write(tmp_path / "held.jsonl", [DOUBLES[0], DOUBLES[4], DOUBLES[5]])
    expected = {
        "none": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        "exact": [1, 2, 3, 4, 7, 8],
        "near": [1, 2, 3, 4],
    }
    for deduplicate, kept in expected.items():
        data = prepared(path=train, held_out=9, eval_path=held, deduplicate=deduplicate)
        assert len(data.heldout) == 3
        assert [int(name.rpartition(":")[2]) for name in ids(data.train)] == kept
        report = data.duplicates
        assert report is not None
        assert (report.leaks.count, report.prompt_leaks.count) == (4, 1)
        assert report.near_leaks.count == (1 if deduplicate == "near" else 0)
    with pytest.raises(DataError, match=r"data\.deduplicate=exact leaves no example to train on"):
        prepared(path=held, held_out=9, eval_path=held, deduplicate="exact")


def test_the_same_example_in_two_sources_is_found(tmp_path: pathlib.Path) -> None:
    shared = records(6, 5)
    a = write(tmp_path / "a.jsonl", records(10, 1) + shared)
    b = write(tmp_path / "b.jsonl", shared[:4] + records(10, 2))
    data = prepared(mixture=f"a={a}@all;b={b}@all")
    assert data.duplicates is not None and data.duplicates.across.count == 4
    assert len(data.train) == 30
    clean = prepared(mixture=f"a={a}@all;b={b}@all", deduplicate="exact")
    assert names(clean.train) == {"a": 16, "b": 10}
    assert "left out 4 training examples (4 of b)" in clean.summary()


def test_exact_duplicates_are_those_of_all_pairs(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    made = [
        {"prompt": f"{rng.choice(WORDS)} {rng.choice(WORDS[:4])}", "completion": str(rng.choice(WORDS[:3]))}
        for _ in range(150)
    ]
    keys = [(record["prompt"], record["completion"]) for record in made]
    first = [number for number, key in enumerate(keys) if key not in keys[:number]]
    assert 20 < len(first) < 120
    data = prepared(path=write(tmp_path / "a.jsonl", made), deduplicate="exact")
    assert [int(name.rpartition(":")[2]) - 1 for name in ids(data.train)] == first


def test_what_leaks_between_the_parts_of_a_split_is_told(tmp_path: pathlib.Path) -> None:
    made = records(20, 0)
    path = write(tmp_path / "a.jsonl", made + made)
    data = prepared(path=path, held_out=10)
    assert data.duplicates is not None
    lines = {int(name.rpartition(":")[2]) - 1 for name in ids(data.heldout)}
    leaked = [n for n in range(40) if n not in lines and (n + 20) % 40 in lines]
    assert data.duplicates.leaks.count == len(leaked) > 0
    clean = prepared(path=path, held_out=10, deduplicate="exact")
    assert clean.duplicates is not None and clean.duplicates.leaks.count == 0
    assert (len(clean.train), len(clean.heldout)) == (10, 10)


def test_another_file_or_amount_is_another_fingerprint(four: str, tmp_path: pathlib.Path) -> None:
    first = prepared(mixture=four).fingerprint()
    assert prepared(mixture=four).fingerprint() == first
    assert prepared(mixture=four.replace("@12", "@13")).fingerprint() != first
    changed = records(40, 0)
    changed[7]["completion"] = "something else"
    write(tmp_path / "a.jsonl", changed)
    assert prepared(mixture=four).fingerprint() != first
