"""Exports that tests make, and what they are asked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from im_jax import export
from im_jax.data.records.conversation import Conversation, Message
from im_jax.models.loaded import Model
from im_jax.opening import open_model

TURNS = (
    Message("system", "Be brief."),
    Message("user", "What is 1 + 1?"),
    Message("assistant", "It is 2."),
    Message("user", "Copy this: a  b"),
)


NEW_TOKENS = 12


def written(*flags: str) -> None:
    export.main(export.run.parse(["export", *flags]))


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
