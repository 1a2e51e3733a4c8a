"""The command that writes a model for other readers: what they load is what was trained."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from tokenizers import normalizers, pre_tokenizers

from im_jax import export
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import CheckpointError, ConfigError, UserError
from im_jax.models.export.folder import export as write_folder
from im_jax.models.export.sentencepiece_json import convert
from im_jax.models.files.layout import LayersOnDisk
from im_jax.models.loaded import Model
from im_jax.opening import open_model, open_run, run_to_export
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.data import synthetic
from tests.models.llama2c_file import write_story
from tests.models.test_families import peer, peer_logits
from tests.subprocess_devices import run_on_devices
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")

TURNS = (
    Message("system", "Be brief."),
    Message("user", "What is 1 + 1?"),
    Message("assistant", "It is 2."),
    Message("user", "Copy this: a  b"),
)
NEW_TOKENS = 12
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def written(*flags: str) -> None:
    export.main(export.run.parse(["export", *flags]))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    config = tiny_config(tie_embeddings=True)
    config.model.compute_dtype = "float32"
    train(config, path, QUIET)
    return path


@pytest.fixture(scope="module")
def folder(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, exported."""
    path = tmp_path_factory.mktemp("export") / "out"
    written(f"--workdir={workdir}", f"--output={path}")
    return path


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def weights(folder: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for file in folder.glob("*.safetensors"):
        found |= safetensors.numpy.load_file(file)
    return found


def opened(folder: Path | str, *flags: str, chat: bool = True) -> Model:
    """A model, computed with in float32."""
    config = export.run.parse(["export", f"--model={folder}", *flags]).config
    config.model.compute_dtype = "float32"
    return open_model(config, chat=chat)


def answers(model: Model) -> list[str]:
    prompts = [model.prompt(TURNS), model.prompt(TURNS[1:2]), model.text("What")]
    return [answer.text for answer in model.answer(prompts, max_new_tokens=NEW_TOKENS)]


def same_in_transformers(folder: Path, model: Model) -> None:
    """Logits, prompts, and greedy answers of the exported folder, as transformers reads it."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    import torch

    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = [{"role": m.role, "content": m.content} for m in TURNS]
    assert model.template is not None
    asked = given, given[1:2]
    prompts = [model.prompt([Message(**turn) for turn in turns]) for turns in asked]
    answers = model.answer(prompts, max_new_tokens=NEW_TOKENS)
    for turns, prompt, answer in zip(asked, prompts, answers, strict=True):
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == prompt.tolist()
        made = theirs.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False)
        assert tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True) == answer.text
    whole = Conversation("", TURNS[:3], "")
    bos = model.tokenizer.bos_text or "" if model.template.adds_bos and model.tokenizer.adds_bos else ""
    text = tokenizer.apply_chat_template(given[:3], tokenize=False)
    assert text == bos + model.template.render(whole).text


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


def chat_tokenizer(folder: Path, *, qwen: bool) -> None:
    """A tokenizer with marks of turns and no BOS; `qwen`: cut as transformers cuts for all models of Qwen 2."""
    synthetic.byte_level_bpe(folder)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    if qwen:
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(QWEN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **tokens})
    )


@pytest.mark.parity
@pytest.mark.parametrize("name", ["llama_3_2", "qwen2_5", "gemma2", "gpt2"])
def test_a_family_goes_out_with_its_tokenizer_and_template(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")

    model = peer(name, 640)
    model.save_pretrained(tmp_path / "in")
    chat_tokenizer(tmp_path / "in", qwen=name.startswith("qwen"))
    (tmp_path / "in/generation_config.json").write_text(json.dumps({"temperature": 0.7, "eos_token_id": 3}))
    flags = [f"--model={tmp_path}/in", "--config.data.template=chatml"]
    written(*flags, f"--output={tmp_path}/out", "--max_shard=50KB")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", attn_implementation="eager")
    tokens = np.random.default_rng(1).integers(0, 640, 40)
    np.testing.assert_array_equal(peer_logits(again.eval(), tokens), peer_logits(model, tokens))
    ours = open_model(str(tmp_path / "out"))
    end = ours.tokenizer.encode("<|im_end|><|endoftext|>").ids.tolist()
    generation = read(tmp_path / "out", "generation_config.json")
    assert generation == {"temperature": 0.7, "eos_token_id": [*end, 3], "pad_token_id": end[1]}
    assert read(tmp_path / "out", "tokenizer_config.json")["model_max_length"] == 77
    same_in_transformers(tmp_path / "out", opened(tmp_path / "in", flags[1]))


def test_a_template_of_another_tokenizer_brings_its_special_tokens(workdir: Path, tmp_path: Path) -> None:
    template = tmp_path / "tokenizer_config.json"
    source = (
        "{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
    )
    template.write_text(json.dumps({"eos_token": "<s>", "chat_template": source}))
    written(f"--workdir={workdir}", f"--output={tmp_path}/plain")
    flags = [f"--model={tmp_path}/plain", f"--config.data.template={template}"]
    written(*flags, f"--output={tmp_path}/out")
    template_out = open_model(f"{tmp_path}/out").template
    assert template_out is not None
    assert template_out.prompt(TURNS[1:2]) == "[user]What is 1 + 1?<s>[assistant]"
    assert read(tmp_path / "out", "generation_config.json")["eos_token_id"] == [256, 257]


AWKWARD = (
    *("", " ", "  two", "a\n\nb\t", "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GRINNING FACE}\x00"),
    *("<s>Hi</s> there", "</s> x", "\u2581", "Once upon a time, there was"),
)


def same_tokens(folder: Path, tokenizer: Tokenizer) -> None:
    """The tokenizer.json of a folder makes a tokenizer's tokens, and its texts of them."""
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*AWKWARD, *(message["content"] for chat in synthetic.chats(60) for message in chat)):
        expected = tokenizer.encode(text).ids.tolist()
        assert theirs.encode(text, add_special_tokens=False).ids == expected, text
        assert theirs.decode(expected) == tokenizer.decode(expected), text


def continued(folder: Path, model: Model, text: str, new_tokens: int) -> str:
    """What transformers and our decoder say after a text, which is the same."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    import torch

    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = model.text(text)
    ids = tokenizer(text)["input_ids"]
    assert ids == prompt.tolist()
    made = theirs.generate(torch.tensor([ids]), max_new_tokens=new_tokens, do_sample=False)[0, len(ids) :]
    (answer,) = model.answer([prompt], max_new_tokens=new_tokens)
    assert [token for token in made.tolist() if token != model.tokenizer.eos_id] == answer.tokens
    whole = str(tokenizer.decode([*ids, *made], skip_special_tokens=True))
    assert whole == text + model.continuation(prompt, answer)
    return whole


def story(folder: Path) -> tuple[str, Path, Path]:
    """A llama2.c model that tells a story from "Once upon" on, with its tokenizer."""
    path = synthetic.llama2c_tokenizer(folder)
    tokenizer = make_tokenizer(str(path))
    told, tokens = "Once upon", tokenizer.encode("Once upon").ids.tolist()
    begun = list(tokens)
    for word in " ".join(message["content"] for chat in synthetic.chats(20) for message in chat).split():
        longer = tokenizer.encode(f"{told} {word}").ids.tolist()
        if len(longer) == len(set(longer)) and longer[: len(begun)] == begun and len(longer) < 40:
            told, tokens = f"{told} {word}", longer
    assert tokenizer.eos_id is not None
    write_story(folder / "model.bin", [*tokens, tokenizer.eos_id], tokenizer.vocab_size)
    return told, folder / "model.bin", path


def test_templates_that_are_left_out_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    config = read(folder, "tokenizer_config.json")
    default = {"name": "default", "template": config["chat_template"]}
    config["chat_template"] = [default, {"name": "tool_use", "template": "{{ tools }}"}]
    (tmp_path / "in/tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "in/chat_template.jinja").unlink()
    written(f"--model={tmp_path}/in", f"--output={tmp_path}/out")
    assert "note: of several chat templates one is written; left out: tool_use" in capsys.readouterr().err
    assert read(tmp_path / "out", "tokenizer_config.json")["chat_template"] == default["template"]


def test_a_file_of_llama2c_becomes_a_folder(tmp_path: Path) -> None:
    told, file, vocabulary = story(tmp_path)
    flags = [f"--model={file}", f"--config.tokenizer.path={vocabulary}"]
    written(*flags, f"--output={tmp_path}/out")
    same_tokens(tmp_path / "out", make_tokenizer(str(vocabulary)))
    # The SentencePiece model beside it, which llama.cpp reads, makes the same tokens.
    same_tokens(tmp_path / "out", make_tokenizer(f"{tmp_path}/out/tokenizer.model"))
    generation = read(tmp_path / "out", "generation_config.json")
    assert generation == {"bos_token_id": 1, "eos_token_id": [2], "pad_token_id": 2}
    ours = opened(tmp_path / "out", chat=False)
    (answer,) = ours.answer([ours.text("Once upon")], max_new_tokens=60)
    assert "Once upon" + ours.continuation(ours.text("Once upon"), answer) == told


@pytest.mark.parity
def test_transformers_tells_the_story_of_a_llama2c_file(tmp_path: Path) -> None:
    told, file, vocabulary = story(tmp_path)
    flags = [f"--model={file}", f"--config.tokenizer.path={vocabulary}"]
    written(*flags, f"--output={tmp_path}/out")
    assert continued(tmp_path / "out", opened(file, flags[1], chat=False), "Once upon", 60) == told


@pytest.mark.parity
def test_stories260k_goes_on_in_transformers(shared_data: Path, tmp_path: Path) -> None:
    directory = shared_data / "tinyllamas_stories260k"
    flags = [f"--model={directory}/stories260K.bin", f"--config.tokenizer.path={directory}/tok512.bin"]
    written(*flags, f"--output={tmp_path}/out")
    model = opened(f"{directory}/stories260K.bin", flags[1], chat=False)
    same_tokens(tmp_path / "out", model.tokenizer)
    whole = continued(tmp_path / "out", model, "Once upon a time", 120)
    document = (directory / "stories260K.md").read_text()
    assert whole in document and len(whole) > 200


def test_a_sentencepiece_model_keeps_the_tokens_that_were_added_to_it(tmp_path: Path) -> None:
    synthetic.sentencepiece_model(tmp_path)
    size = make_tokenizer(str(tmp_path)).vocab_size
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_start|>": size, "<|im_end|>": size + 1}))
    named = {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "tokenizer_class": "LlamaTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    tokenizer = make_tokenizer(str(tmp_path))
    converted, model = convert(tmp_path / "tokenizer.model", tokenizer)
    assert model == (tmp_path / "tokenizer.model").read_bytes()
    text = "<|im_start|>user\nHi<|im_end|>\n"
    assert converted.encode(text, add_special_tokens=False).ids == tokenizer.encode(text).ids.tolist()
    assert converted.encode(text).ids[0] == tokenizer.bos_id


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
