"""What a path names: files, globs, folders as a hub lays them out; what is not clear is refused."""

import json
from pathlib import Path

import pytest

from im_jax.config import Config, DataConfig
from im_jax.data.files import File, located
from im_jax.data.files.location import split_paths
from im_jax.data.prepare import prepare
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError
from im_jax.losses.policy import policy_weights

LINE = b'{"prompt": "a", "completion": "b"}'


def folder(root: Path, *names: str, card: str = "") -> Path:
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(LINE)
    if card:
        (root / "README.md").write_text(f"---\n{card}---\n# A set\n")
    return root


def names(root: Path, *splits: str) -> list[str]:
    found = located(str(root), "data.path", splits or ("train",))
    return [str(Path(file.path).relative_to(root)) for file in found]


def refusal(path: object, *splits: str, field: str = "data.path") -> str:
    with pytest.raises(DataError) as caught:
        located(str(path), field, splits or ("train",))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_comma_may_stand_in_the_name_of_a_file(tmp_path: Path) -> None:
    names = ["a,b.jsonl", "c.jsonl", "d, e,f.jsonl"]
    paths = [str(tmp_path / name) for name in names]
    for path in paths:
        Path(path).write_bytes(LINE)
    for path in paths:
        assert split_paths(path) == [path]
    assert split_paths(",".join(paths)) == paths
    assert split_paths(f" {paths[1]} , {paths[0]},") == [paths[1], paths[0]]
    assert split_paths("x.jsonl, y.jsonl,,") == ["x.jsonl", "y.jsonl"]
    assert split_paths(" , ") == []
    config = Config(data=DataConfig(source="jsonl", path=",".join(paths)))
    config.eval.num_examples = 0
    assert len(prepare(config, make_tokenizer("bytes"), policy_weights("it")).train) == 3


def test_a_glob_gives_its_files_by_name(tmp_path: Path) -> None:
    folder(tmp_path, "b.jsonl", "a.jsonl", "c.txt", "deep/d.jsonl", "x[1].jsonl")
    assert [Path(f.path).name for f in located(f"{tmp_path}/*.jsonl", "data.path")] == [
        "a.jsonl",
        "b.jsonl",
        "x[1].jsonl",
    ]
    assert len(located(f"{tmp_path}/**/*.jsonl", "data.path")) == 4
    assert located(f"{tmp_path}/x[1].jsonl", "data.path") == [File(f"{tmp_path}/x[1].jsonl")]
    assert f"no file matches '{tmp_path}/*.parquet'; correct it" in refusal(f"{tmp_path}/*.parquet")
    assert "only folders match" in refusal(f"{tmp_path}/dee*")


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, "a.jsonl", "b.jsonl")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    for joined in (f"{tmp_path}/a.jsonl,{tmp_path}/a.jsonl", f"{tmp_path}/a.jsonl,{tmp_path}/*.jsonl"):
        assert f"names '{tmp_path}/a.jsonl' again; name each file once" in refusal(joined)
    assert "again, as" in refusal(f"{tmp_path}/a.jsonl,{tmp_path}/link.jsonl")


@pytest.mark.parametrize(
    ("found", "split", "expected"),
    [
        (["train.jsonl", "test.jsonl"], "train", ["train.jsonl"]),
        (["train.jsonl", "test.jsonl.gz"], "test", ["test.jsonl.gz"]),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], "train", [0, 1]),
        (
            ["data/train_sft-00000-of-00001.parquet", "data/test_sft-00000-of-00001.parquet"],
            "train_sft",
            ["data/train_sft-00000-of-00001.parquet"],
        ),
        (["b.jsonl", "a.jsonl", "LICENSE", "dataset_infos.json"], "train", ["a.jsonl", "b.jsonl"]),
        (["train/b.json", "train/a.json", "valid/c.json"], "train", ["train/a.json", "train/b.json"]),
        (["train/b.json", "valid/c.json"], "validation", ["valid/c.json"]),
        (["my-train-part_2.json.zst", "my_dev.json.zst"], "train", ["my-train-part_2.json.zst"]),
        (["constraints.jsonl"], "train", ["constraints.jsonl"]),
        ([".cache/train.jsonl", "train.jsonl"], "train", ["train.jsonl"]),
    ],
)
def test_the_files_of_a_split_are_told_by_their_names(
    found: list[str], split: str, expected: list[str | int], tmp_path: Path
) -> None:
    folder(tmp_path, *found)
    assert names(tmp_path, split) == [found[name] if isinstance(name, int) else name for name in expected]


CARD = """configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: [held/**, more.json]
dataset_info:
  splits:
  - name: train
"""


def test_a_card_says_which_files_a_split_has(tmp_path: Path) -> None:
    shards = [f"data/train-{n}.parquet" for n in (1, 2)]
    folder(tmp_path, *shards, "held/a/b.json", "held/c.json", "more.json", "other.jsonl", card=CARD)
    assert names(tmp_path) == shards
    assert names(tmp_path, "validation", "test") == ["held/a/b.json", "held/c.json", "more.json"]
    assert "has no split 'valid'; it has train, test; set --config.data.split=train" in refusal(
        tmp_path, "valid"
    )
    assert "; name the files you want" in refusal(tmp_path, "valid", "dev", field="eval.path")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("configs:\n- data_files: a.jsonl\n", ["a.jsonl"]),
        ("configs:\n- data_files: [b.jsonl, a.jsonl]\n", ["a.jsonl", "b.jsonl"]),
        ("configs:\n- data_files: {train: '*.jsonl'}\n", ["a.jsonl", "b.jsonl"]),
        ("configs:\n- data_dir: deep\n  data_files: '*'\n", ["deep/c.jsonl"]),
        (
            "configs:\n- {config_name: x, data_files: a.jsonl}\n- {config_name: y, default: true, data_files: b.jsonl}\n",
            ["b.jsonl"],
        ),
        ("license: mit\n", None),
        ("", None),
    ],
)
def test_a_card_may_be_written_in_several_ways(card: str, expected: list[str] | None, tmp_path: Path) -> None:
    folder(tmp_path, "a.jsonl", "b.jsonl", "deep/c.jsonl", card=card or "x: [\n" if card else "")
    if expected is None:
        assert "several folders (., deep)" in refusal(tmp_path)
    else:
        assert names(tmp_path) == expected


def test_a_folder_that_does_not_say_what_is_meant_is_refused(tmp_path: Path) -> None:
    assert "holds no file of records (nothing); they end in .jsonl" in refusal(folder(tmp_path / "0"))
    assert "holds no file of records (only data.arrow)" in refusal(folder(tmp_path / "1", "data.arrow"))
    assert "has files of train and others (extra.jsonl); name those" in refusal(
        folder(tmp_path / "2", "train.jsonl", "extra.jsonl")
    )
    assert "has no split 'train'; it has validation, test; set --config.data.split=validation" in refusal(
        folder(tmp_path / "3", "test.jsonl", "dev.jsonl")
    )
    assert "has 'train' as JSON Lines and as Parquet; name those of one" in refusal(
        folder(tmp_path / "4", "train.jsonl", "train.parquet")
    )
    assert "has 'train' in several folders (data/all, data/smol)" in refusal(
        folder(tmp_path / "5", "data/all/train.parquet", "data/smol/train.parquet")
    )
    assert "has 2 of 3 shards of 'train'; 00001 is missing; copy it again" in refusal(
        folder(tmp_path / "6", "train-00000-of-00003.jsonl", "train-00002-of-00003.jsonl")
    )


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ("configs: [\n", "the front matter of README.md is not YAML"),
        (
            "configs:\n- {config_name: a, data_files: x}\n- {config_name: b}\n",
            "several configurations (a, b), and none",
        ),
        ("configs:\n- data_files:\n  - path: x\n", "has `data_files` without `split` and `path`"),
        ("configs:\n- data_files: missing-*\n", "has no file that its README.md names for 'train'; copy"),
    ],
)
def test_a_card_that_cannot_be_followed_is_refused(card: str, problem: str, tmp_path: Path) -> None:
    assert problem in refusal(folder(tmp_path, "a.jsonl", card=card))


def test_a_folder_is_trained_on_and_its_other_split_held_out(tmp_path: Path) -> None:
    for split, count in (("train_sft", 3), ("test_sft", 2)):
        lines = [json.dumps({"prompt": f"{split} {n}", "completion": "b"}) for n in range(count)]
        (tmp_path / f"{split}-00000-of-00001.jsonl").write_text("\n".join(lines))
    config = Config(data=DataConfig(source="jsonl", path=str(tmp_path), split="train_sft"))
    config.eval.path = str(tmp_path)
    data = prepare(config, make_tokenizer("bytes"), policy_weights("it"))
    assert (len(data.train), len(data.heldout)) == (3, 2)
