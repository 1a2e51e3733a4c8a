"""A small random Llama in a Hugging Face folder, with a tokenizer of bytes, and such a model opened."""

import dataclasses
import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from im_jax.models.huggingface import save_params
from im_jax.models.loaded import Model
from im_jax.opening import open_model
from im_jax.saved_config import config_of_model
from tests.models.reference import SMALL, random_params

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
LLAMA = dataclasses.replace(SMALL, vocab_size=258, max_positions=256)


def write_model(folder: Path, *, adds_bos: bool = True) -> Path:
    """Write the model; returns the folder."""
    write_tokenizer(folder, adds_bos=adds_bos)
    save_params(random_params(LLAMA), LLAMA, folder)
    return folder


def write_tokenizer(folder: Path, *, adds_bos: bool = True) -> None:
    """A token a byte, then `<s>` and `</s>`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    if adds_bos:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 256)]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "</s>",
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def opened(folder: Path, *, chat: bool = False) -> Model:
    """The model in a folder, computed with in float32."""
    config = config_of_model(str(folder))
    config.model.compute_dtype = "float32"
    return open_model(config, chat=chat)
