"""A run is written for other readers: what they load is what was trained."""

import dataclasses
import os
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tokenizers

from im_jax import export
from im_jax.models.export.folder import export as write_folder
from im_jax.models.files.layout import LayersOnDisk
from im_jax.opening import open_model, open_run, run_to_export
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.export.asked import answers, opened, read, same_in_transformers, weights, written
from tests.subprocess_devices import run_on_devices
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_a_run_is_asked_the_same_from_its_export(workdir: Path, folder: Path) -> None:
    assert answers(opened(folder)) == answers(open_run(workdir))


def test_what_readers_ask_for_is_there(folder: Path) -> None:
    config, generation = read(folder, "config.json"), read(folder, "generation_config.json")
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (256, 257, None)
    assert generation == {"bos_token_id": 256, "eos_token_id": [257], "pad_token_id": 257}
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert config["dtype"] == config["torch_dtype"] == "float32"
    tokenizer = read(folder, "tokenizer_config.json")
    assert tokenizer["chat_template"] == (folder / "chat_template.jinja").read_text()
    assert (tokenizer["bos_token"], tokenizer["eos_token"]) == ("<s>", "</s>")
    assert not list(folder.parent.glob(".*"))


def test_bytes_become_a_tokenizer_of_other_libraries(folder: Path) -> None:
    peer_of_bytes = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "Hi \N{GRINNING FACE}\n\t caf\N{LATIN SMALL LETTER E WITH ACUTE}</s> <s>\x00\x7f"
    expected = open_model(str(folder)).tokenizer.encode(text).ids.tolist()
    assert peer_of_bytes.encode(text).ids == [256, *expected]
    assert expected[:3] == [72, 105, 32] and 257 in expected and 256 in expected
    assert peer_of_bytes.decode(expected, skip_special_tokens=False) == text


@pytest.mark.parity
def test_transformers_reads_a_run(workdir: Path, folder: Path) -> None:
    same_in_transformers(folder, open_run(workdir))


def test_shards_hold_what_one_file_holds(workdir: Path, folder: Path, tmp_path: Path) -> None:
    written(f"--workdir={workdir}", f"--output={tmp_path}/out", "--max_shard=20KB")
    shards = sorted(tmp_path.glob("out/*.safetensors"))
    index = read(tmp_path / "out", "model.safetensors.index.json")
    assert len(shards) > 3
    assert [shard.name for shard in shards] == sorted(set(index["weight_map"].values()))
    assert shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"
    expected, sizes = weights(folder), []
    for shard in shards:
        found = safetensors.numpy.load_file(shard)
        assert found.keys() == {name for name, file in index["weight_map"].items() if file == shard.name}
        sizes.append(sum(tensor.nbytes for tensor in found.values()))
        assert sizes[-1] <= 20_000 or len(found) == 1
        for name, tensor in found.items():
            np.testing.assert_array_equal(tensor, expected[name])
    assert index["metadata"] == {
        "total_size": sum(sizes),
        "total_parameters": sum(tensor.size for tensor in expected.values()),
    }
    assert answers(opened(tmp_path / "out")) == answers(opened(folder))


def test_what_a_run_does_not_train_comes_from_where_it_started(folder: Path, tmp_path: Path) -> None:
    config = tiny_config()
    config.model = dataclasses.replace(
        config.model, path=str(folder), vocab_size=None, compute_dtype="float32"
    )
    config.train = dataclasses.replace(config.train, steps=2, trainable="layers.*norm*")
    train(config, tmp_path / "run", QUIET)
    written(f"--workdir={tmp_path}/run", f"--output={tmp_path}/out")
    before, after = weights(folder), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert np.array_equal(tensor, after[name]) == ("layernorm" not in name), name
    assert answers(opened(tmp_path / "out")) == answers(open_run(tmp_path / "run"))


def test_no_more_is_in_memory_than_twice_a_shard(workdir: Path, tmp_path: Path) -> None:
    alive, most = 0, 0

    def counted(array: np.ndarray) -> np.ndarray:
        nonlocal alive, most
        alive += array.nbytes
        most = max(most, alive)
        weakref.finalize(array, freed, array.nbytes)
        return array

    def freed(size: int) -> None:
        nonlocal alive
        alive -= size

    def parameter(path: str) -> np.ndarray | LayersOnDisk:
        found = source.parameter(path)
        if isinstance(found, np.ndarray):
            return counted(found)
        return LayersOnDisk(lambda layer: counted(found.read(layer).copy()))

    config = export.run.parse(["export", f"--workdir={workdir}"]).config
    with run_to_export(workdir, config) as source:
        write_folder(dataclasses.replace(source, parameter=parameter), tmp_path / "out", max_bytes=12_000)
    shards = [safetensors.numpy.load_file(shard) for shard in tmp_path.glob("out/*.safetensors")]
    largest = max(sum(tensor.nbytes for tensor in shard.values()) for shard in shards)
    assert len(shards) > 5 and alive == 0
    assert 0 < most < 2 * largest


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", "BF16"), ("float16", "F16")])
def test_weights_of_another_type_are_the_nearest(
    dtype: str, stored: str, workdir: Path, folder: Path, tmp_path: Path
) -> None:
    written(f"--workdir={workdir}", f"--output={tmp_path}/out", f"--dtype={dtype}")
    assert read(tmp_path / "out", "config.json")["dtype"] == dtype
    header = (tmp_path / "out/model.safetensors").read_bytes()[8:4000].decode(errors="replace")
    assert f'"{stored}"' in header and '"F32"' not in header
    import jax.numpy as jnp

    narrow = weights(tmp_path / "out")
    for name, tensor in weights(folder).items():
        np.testing.assert_array_equal(narrow[name], np.asarray(jnp.asarray(tensor, dtype)))
    # A folder keeps its type.
    written(f"--model={tmp_path}/out", f"--output={tmp_path}/again")
    for name in ("model.safetensors", "chat_template.jinja", "config.json", "generation_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


MESH = """
import sys
from im_jax import export
import jax
assert jax.device_count() == 4
export.main(export.run.parse(["export", *sys.argv[1:]]))
"""


def test_a_mesh_of_devices_writes_the_same_files(workdir: Path, folder: Path, tmp_path: Path) -> None:
    flags = [f"--workdir={workdir}", f"--output={tmp_path}/out", "--config.mesh.tensor=2"]
    run_on_devices(MESH, 4, flags)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes(), name


def test_two_processes_write_the_same_files(workdir: Path, folder: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
    }
    command = [sys.executable, "-m", "im_jax.export", f"--workdir={workdir}", f"--output={tmp_path}/out"]
    pod = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | settings | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    told = []
    for process in pod:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        told.append(output)
    assert ["the model was written to" in output for output in told] == [True, False]
    for file in folder.iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name
