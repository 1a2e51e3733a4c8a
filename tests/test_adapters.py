"""A run's adapter as other programs meet it: kept in PEFT's files, merged, asked, and trained on."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy

from im_jax import export, generate
from im_jax.config import Config, LoraConfig
from im_jax.data.records.conversation import Message
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import CheckpointError, ConfigError, UserError
from im_jax.models import decoder, huggingface
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.export import tokenizer_files
from im_jax.models.export.comparison import difference, sample_logits
from im_jax.models.files.layout import by_path
from im_jax.models.loaded import Model
from im_jax.opening import open_model, open_run
from im_jax.training import run as runs
from im_jax.training.start import train
from tests.models.test_families import peer_logits
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def written(*flags: str) -> None:
    export.main(export.run.parse(["export", *flags]))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model and a tokenizer of bytes."""
    folder = tmp_path_factory.mktemp("base")
    model = dataclasses.replace(tiny_config().model, vocab_size=258)
    params = jax.jit(lambda key: decoder.init_params(model, key))(jax.random.key(1))
    huggingface.save_params(params, model, folder)
    tokenizer = make_tokenizer("bytes")
    tokenizer_files.write_tokenizer("bytes", tokenizer, folder)
    told = tokenizer_files.read_config("bytes", tokenizer, model.max_positions)
    (folder / tokenizer_files.CONFIG).write_text(json.dumps(told))
    return folder


def config_on(base: Path, **lora: Any) -> Config:
    config = tiny_config()
    config.model = dataclasses.replace(
        config.model, path=str(base), vocab_size=None, compute_dtype="float32", lora=LoraConfig(**lora)
    )
    config.optimizer = dataclasses.replace(config.optimizer, learning_rate=3e-2, schedule="constant")
    return config


@pytest.fixture(scope="module")
def workdir(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    train(config_on(base, rank=3, alpha=8.0, targets="q_proj,v_proj,down_proj"), path, QUIET)
    return path


@pytest.fixture(scope="module")
def kept(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "adapter"
    written(f"--workdir={workdir}", f"--output={path}", "--adapter=keep")
    return path


def adapted(base: Path, adapter: Path) -> Model:
    config = generate.run.parse(["generate", f"--model={base}", f"--adapter={adapter}"]).config
    config.model.compute_dtype = "float32"
    return open_model(config)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "model.safetensors")


def test_a_kept_adapter_is_the_run_again(workdir: Path, base: Path, kept: Path) -> None:
    run, again = open_run(workdir), adapted(base, kept)
    expected = sample_logits(run)
    np.testing.assert_array_equal(sample_logits(again), expected)
    assert np.abs(sample_logits(open_model(str(base), chat=False)) - expected).max() > 0.02
    (asked,), (prompt,) = ([model.prompt([Message("user", "Hi")])] for model in (again, run))
    np.testing.assert_array_equal(asked, prompt)  # in the template that is beside the adapter
    told = json.loads((kept / "adapter_config.json").read_text())
    assert (told["r"], told["lora_alpha"], told["base_model_name_or_path"]) == (3, 8, str(base))
    assert told["target_modules"] == ["down_proj", "q_proj", "v_proj"]
    assert {path.name for path in kept.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "chat_template.jinja"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


def test_a_merged_model_differs_by_what_is_told(
    workdir: Path, base: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(f"--workdir={workdir}", f"--output={tmp_path / 'merged'}")
    told = re.search(r"differ from those of the unmerged by (\S+) at most", capsys.readouterr().out)
    assert told is not None
    unmerged = sample_logits(open_run(workdir))
    merged = open_model(str(tmp_path / "merged"))
    assert merged.config.lora.rank == 0
    config = dataclasses.replace(merged.config, compute_dtype="float32")
    found = difference(unmerged, sample_logits(dataclasses.replace(merged, config=config)))
    assert found.largest < 1e-4
    assert float(told[1]) == pytest.approx(found.largest, rel=0.1)

    written(f"--model={base}", f"--adapter={kept}", f"--output={tmp_path / 'again'}", "--nocompare")
    assert "logits" not in capsys.readouterr().out
    one, two = weights(tmp_path / "merged"), weights(tmp_path / "again")
    assert one.keys() == two.keys() == weights(base).keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


def test_a_merged_weight_is_rounded_once(workdir: Path, base: Path, tmp_path: Path) -> None:
    written(f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--dtype=bfloat16", "--nocompare")
    run = open_run(workdir)
    params = {path: np.asarray(value, np.float64) for path, value in by_path(run.params).items()}
    a, b = (params[f"layers.mlp.down_lora_{side}"][1] for side in "ab")
    exact = weights(base)["model.layers.1.mlp.down_proj.weight"] + 8 / 3 * (a @ b).T
    found = weights(tmp_path / "out")["model.layers.1.mlp.down_proj.weight"]
    nearest = np.asarray(exact.astype(np.float32), found.dtype)
    assert np.mean(found == nearest) > 0.999  # float32's own rounding may fall on the other side
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=2**-8)


def test_another_base_than_the_run_was_trained_beside_is_not_exported(
    workdir: Path, base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "other")
    tensors = {name: tensor.copy() for name, tensor in weights(base).items()}
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] += 1e-3
    safetensors.numpy.save_file(tensors, tmp_path / "other/model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="are not those that the run was trained beside"):
        written(
            *(f"--workdir={workdir}", f"--config.model.path={tmp_path}/other", f"--output={tmp_path}/out"),
        )
    assert not (tmp_path / "out").exists()


def test_training_goes_on_from_an_adapter_of_peft(
    kept: Path, base: Path, workdir: Path, tmp_path: Path
) -> None:
    config = config_on(base, path=str(kept))
    run = runs.prepare_run(runs.resolve(config))
    lora = run.config.model.lora
    assert (lora.rank, lora.alpha, lora.targets) == (3, 8.0, "query,value,down")
    with jax.set_mesh(run.mesh):
        first = by_path(run.first_state().params)
    expected = {path: value for path, value in by_path(open_run(workdir).params).items() if is_adapter(path)}
    assert first.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(first[path], value, err_msg=path)

    config = config_on(base, path=str(kept))
    config.train.steps = 2
    train(config, tmp_path, QUIET)
    config.train.steps = 3  # one that has a checkpoint goes on from it, and reads no other adapter
    train(config, tmp_path, QUIET)
    found = sample_logits(open_run(tmp_path))
    assert np.abs(found - sample_logits(open_run(workdir))).max() > 1e-3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir={run}", "--adapter=other"], "--adapter=other is for --model; for a run"),
        (["--model={base}", "--adapter=keep"], "--adapter=keep is for a run; for --model, name the folder"),
        (["--model={base}", "--adapter={base}"], "has no adapter_config.json, so it is no adapter"),
        (["--model={kept}"], "is an adapter of PEFT: name its base there"),
    ],
)
def test_flags_that_fit_nothing_are_refused(
    flags: list[str], message: str, base: Path, kept: Path, workdir: Path, tmp_path: Path
) -> None:
    given = [flag.format(run=workdir, base=base, kept=kept) for flag in flags]
    with pytest.raises(UserError) as caught:
        written(*given, f"--output={tmp_path / 'out'}")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_adapter_goes_with_a_model_alone(base: Path, kept: Path, workdir: Path) -> None:
    with pytest.raises(ConfigError, match="needs --model=DIR, its base; a run has its own adapter"):
        generate.run.parse(["generate", f"--workdir={workdir}", f"--adapter={kept}", "--prompt=a"])
    with pytest.raises(
        ConfigError, match=r"model\.lora\.rank.*the adapter at model\.lora\.path=.*decides it"
    ):
        generate.run.parse(
            ["generate", f"--model={base}", f"--adapter={kept}", "--prompt=a", "--config.model.lora.rank=2"]
        )
    with pytest.raises(CheckpointError, match="it is of another base"):
        told = json.loads((kept / "adapter_config.json").read_text()) | {"target_modules": ["c_attn"]}
        other = kept.parent / "other"
        other.mkdir()
        (other / "adapter_config.json").write_text(json.dumps(told))
        open_model(str(base), adapter=str(other), chat=False)


@pytest.mark.parity
def test_peft_gives_the_logits_of_a_kept_adapter(workdir: Path, base: Path, kept: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `parity`")
    import transformers

    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(kept).eval()
    run = open_run(workdir)
    tokens = run.text("What is 1 + 1? It is 2.")
    from tests.models.test_families import our_logits

    ours = our_logits(run.config, run.params, tokens)
    np.testing.assert_allclose(ours, peer_logits(theirs, tokens), rtol=0, atol=1e-4)
    assert transformers.AutoTokenizer.from_pretrained(kept).chat_template
