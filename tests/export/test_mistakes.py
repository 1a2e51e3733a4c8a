"""What cannot be written is told, and so is what readers will miss."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from im_jax.errors import CheckpointError, ConfigError, UserError
from tests.data import synthetic
from tests.export.asked import read, weights, written

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "set one of --workdir=RUN and --model=DIR: what to export"),
        (["--workdir=a", "--model=b"], "set one of --workdir=RUN and --model=DIR"),
        (["--workdir=nowhere", "--output=x"], "--workdir=nowhere has no config.json"),
        (["--model=nowhere", "--output=x"], "model.path is 'nowhere', which is neither"),
        (["--workdir=RUN"], "no folder to write; set --output=DIR"),
        (["--workdir=RUN", "--output=OUT", "--max_shard=big"], "--max_shard=big is no size"),
        (["--workdir=RUN", "--output=OUT", "--max_shard=0"], "--max_shard=0 is no size"),
        (["--workdir=RUN", "--output=RUN"], "is there already; remove it, or name another folder"),
        (["--workdir=RUN", "--output=FILE"], "is there already"),
        (["--workdir=RUN", "--output=FILE/out"], "cannot be written"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    flags: list[str], message: str, workdir: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    places = {"RUN": str(workdir), "OUT": f"{tmp_path}/out", "FILE": f"{tmp_path}/file"}
    for name, place in places.items():
        flags = [flag.replace(f"={name}", f"={place}") for flag in flags]
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        written(*flags)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(folder: Path, tmp_path: Path) -> None:
    small = synthetic.byte_level_bpe(tmp_path)
    with pytest.raises(ConfigError, match="320 is smaller than the"):
        written(f"--model={folder}", f"--output={tmp_path}/out", f"--config.tokenizer.path={small}")
    assert not (tmp_path / "out").exists()


def test_numbers_that_a_type_has_no_place_for_stop_the_export(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "in")
    tensors = weights(folder)
    tensors["model.norm.weight"] = np.full_like(tensors["model.norm.weight"], 1e6)
    safetensors.numpy.save_file(tensors, tmp_path / "in/model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"model\.norm\.weight holds numbers that are too large for float16"
    ):
        written(f"--model={tmp_path}/in", f"--output={tmp_path}/out", "--dtype=float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_what_readers_will_miss_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in/chat_template.jinja").unlink()
    config = read(folder, "tokenizer_config.json")
    del config["chat_template"]
    (tmp_path / "in/tokenizer_config.json").write_text(json.dumps(config))
    written(f"--model={tmp_path}/in", f"--output={tmp_path}/out")
    told = capsys.readouterr()
    assert "note: there is no chat template" in told.err
    assert told.out == f"the model was written to {tmp_path}/out\n"
    assert not (tmp_path / "out/chat_template.jinja").exists()
    flags = ["--config.data.template=chatml", f"--output={tmp_path}/chatml"]
    written(f"--model={tmp_path}/in", *flags)
    assert "note: answers end with '<|im_end|>', which is 10 tokens" in capsys.readouterr().err
