"""What a run is made of lies in an object store: data, model, tokenizer, template and adapter, as on a disk."""

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax import export
from im_jax.config import Config
from im_jax.data.records.conversation import Message
from im_jax.errors import ConfigError, DataError
from im_jax.models.files.layout import by_path
from im_jax.models.loaded import Model
from im_jax.opening import open_model, open_run
from im_jax.training.start import train
from tests.data.files.test_formats import as_lines, packed
from tests.data.synthetic import chats, sentencepiece_model
from tests.stand_in_gcs import StandIn, stand_in_asked
from tests.test_adapters import base, config_on  # noqa: F401 - a fixture
from tests.test_opening import random_params, text_of, write_llama2c
from tests.training.test_lora import entries
from tests.training.test_train import QUIET

pytestmark = [
    pytest.mark.usefixtures("compiled_quickly"),
    pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed"),
]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}assistant: {% endif %}"


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    with stand_in_asked() as store:
        yield store


def on_data(config: Config, folder: Path | str) -> Config:
    config.data = dataclasses.replace(
        config.data, source="jsonl", num_generated=2000, path=f"{folder}/train-*.jsonl.gz"
    )
    config.train = dataclasses.replace(config.train, steps=2)
    config.eval = dataclasses.replace(config.eval, path=f"{folder}/held.jsonl", num_examples=8)
    return config


@pytest.fixture(scope="module")
def local(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder with data, a run on it, and the run's adapter."""
    folder = tmp_path_factory.mktemp("local")
    lines = [as_lines([{"messages": chat}]) for chat in chats(60)]
    for name, part in (("train-1.jsonl.gz", lines[:20]), ("train-2.jsonl.gz", lines[20:50])):
        (folder / name).write_bytes(packed(b"".join(part), "gzip"))
    (folder / "held.jsonl").write_bytes(b"".join(lines[50:]))
    (folder / "template.jinja").write_text(TEMPLATE)
    config = on_data(config_on(base, rank=2), folder)
    config.data.template = str(folder / "template.jinja")
    train(config, folder / "run", QUIET)
    export.main(
        export.run.parse(["export", f"--workdir={folder}/run", "--adapter=keep", f"--output={folder}/a"])
    )
    return folder


@pytest.fixture(scope="module")
def remote(store: StandIn, local: Path, base: Path) -> str:  # noqa: F811
    """The same in a bucket."""
    store.put_folder(local, "bucket/local")
    store.put_folder(base, "bucket/base")
    return "gs://bucket/local"


def answers(model: Model) -> list[str]:
    prompts = [model.prompt([Message("user", text)]) for text in ("What is 3 + 4?", "Why?")]
    return [answer.text for answer in model.answer(prompts, max_new_tokens=12)]


def assert_same(one: Model, other: Model) -> None:
    mine, theirs = by_path(one.params), by_path(other.params)
    assert mine.keys() == theirs.keys()
    for path, x in mine.items():
        np.testing.assert_array_equal(x, theirs[path])
    assert answers(one) == answers(other)


def test_a_run_on_what_is_in_a_bucket_is_that_on_a_disk(
    base: Path,  # noqa: F811
    local: Path,
    remote: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = on_data(config_on(Path("gs://bucket/base"), rank=2), remote)
    config.model.path, config.data.template = "gs://bucket/base", f"{remote}/template.jinja"
    train(config, tmp_path / "run", QUIET)
    assert entries(tmp_path / "run") == entries(local / "run")
    assert_same(open_run(tmp_path / "run"), open_run(local / "run"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["data"] == json.loads((local / "run" / "summary.json").read_text())["data"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_model_and_an_adapter_in_a_bucket_are_asked_and_exported(
    base: Path,  # noqa: F811
    local: Path,
    remote: str,
    tmp_path: Path,
) -> None:
    assert_same(
        open_model("gs://bucket/base", adapter=f"{remote}/a"), open_model(str(base), adapter=str(local / "a"))
    )
    for name, model, adapter in (("one", "gs://bucket/base", f"{remote}/a"), ("two", base, local / "a")):
        words = [f"--model={model}", f"--adapter={adapter}", f"--output={tmp_path / name}"]
        export.main(export.run.parse(["export", *words]))
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two and "model.safetensors" in one


def test_a_llama2c_file_and_a_sentencepiece_model_in_a_bucket_are_read(
    store: StandIn, tmp_path: Path
) -> None:
    write_llama2c(random_params(), tmp_path / "model.bin")
    sentencepiece_model(tmp_path)
    store.put_folder(tmp_path, "bucket/llama2c")

    def opened(folder: Any) -> list[str]:
        config = Config()
        config.model.path, config.model.compute_dtype = f"{folder}/model.bin", "float32"
        config.tokenizer.path = "bytes"
        return text_of(open_model(config, chat=False))

    assert opened("gs://bucket/llama2c") == opened(tmp_path)
    from im_jax.data.tokenizers import make_tokenizer

    one, two = (make_tokenizer(f"{folder}/tokenizer.model") for folder in ("gs://bucket/llama2c", tmp_path))
    assert one.encode("What is 3 + 4?").ids.tolist() == two.encode("What is 3 + 4?").ids.tolist()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gs://bucket/none", r"^model\.path is 'gs://bucket/none', which is neither a directory"),
        ("gs://nowhere/none", r"^gs://nowhere/none/\w+\.json: there is no bucket 'nowhere'"),
    ],
)
def test_a_model_that_is_not_there_is_named(
    path: str, message: str, store: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "missing", {"nowhere"})
    with pytest.raises(ConfigError, match=message):
        open_model(path)


def test_a_tokenizer_or_template_that_is_not_there_is_named(base: Path, store: StandIn) -> None:  # noqa: F811
    config = Config()
    config.model.path, config.tokenizer.path = str(base), "gs://bucket/none"
    with pytest.raises(DataError, match=r"^tokenizer\.path=gs://bucket/none is not there"):
        open_model(config)
    config.tokenizer.path, config.data.template = "", "gs://bucket/none.jinja"
    with pytest.raises(DataError, match=r"^data\.template=gs://bucket/none\.jinja is neither"):
        open_model(config)
