"""A model of any family is written with its tokenizer and template."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import normalizers, pre_tokenizers

from im_jax.opening import open_model
from tests.data import synthetic
from tests.export.asked import TURNS, opened, read, same_in_transformers, written
from tests.models.test_families import peer, peer_logits

pytestmark = pytest.mark.usefixtures("compiled_quickly")


QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


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
