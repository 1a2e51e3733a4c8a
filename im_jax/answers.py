"""Answers of a trained run or a pretrained checkpoint to prompts, by greedy decoding."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from im_jax import mesh as meshes
from im_jax import validation
from im_jax.config import Config, flatten
from im_jax.console import Console
from im_jax.data.conversation import Message
from im_jax.data.encoding import encode_prompt, stop_tokens
from im_jax.data.templates import Template, make_template
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import ConfigError
from im_jax.models import decoder
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.decoding import greedy
from im_jax.models.sharding import ShardingRules
from im_jax.training.checkpoint import SavedModel
from im_jax.training.state import Params, with_shardings


def answer(
    config: Config, prompts: Sequence[str], *, workdir: str | None, chat: bool, max_new_tokens: int
) -> None:
    """Print the answer of a model to each prompt.

    Args:
        config: a checked configuration.
        prompts: user messages, or texts to go on with.
        workdir: of the run whose newest checkpoint answers; None: the model at `model.path` does.
        chat: whether prompts are messages in the configuration's template.
        max_new_tokens: longest answer.
    """
    meshes.join_cluster(config.mesh)
    tokenizer = make_tokenizer(config.tokenizer.path)
    template = make_template(config.data.template, tokenizer) if chat else None
    encoded = [_encode(prompt, template, tokenizer) for prompt in prompts]
    longest, new = max(map(len, encoded)), max_new_tokens

    config.model = resolve_model(config.model)
    validation.resolve_vocabulary(config, tokenizer.vocab_size)
    if longest + new > config.model.max_positions:
        raise ConfigError(
            f"a prompt of {longest} tokens and --max_new_tokens={new} exceed model.max_positions="
            f"{config.model.max_positions}; shorten one of them"
        )
    mesh, rules = meshes.make_mesh(config.mesh), ShardingRules()
    with jax.set_mesh(mesh):
        shardings = decoder.param_shardings(config.model, mesh, rules)
        params = _params(config, workdir, shardings)
        tokens = np.zeros((len(encoded), longest), np.int32)
        for row, prompt in zip(tokens, encoded, strict=True):
            row[: len(prompt)] = prompt
        lengths = np.array([len(prompt) for prompt in encoded], np.int32)
        stop = stop_tokens(template, tokenizer) if template else []
        # A stop of several tokens cannot end decoding; the answer is cut at it afterwards.
        ends = [tokenizer.eos_id] if tokenizer.eos_id is not None else []
        ends += stop if len(stop) == 1 else []
        decoded = jax.device_get(greedy(params, config.model, tokens, lengths, new, ends, rules))
    console = Console(quiet=jax.process_index() != 0)
    for row, start, end in zip(decoded.tokens, lengths, decoded.lengths, strict=True):
        text = _before(row[start:end].tolist(), stop)
        console.print(tokenizer.decode(text))


def _before(tokens: list[int], stop: list[int]) -> list[int]:
    """The tokens up to the first place where `stop` stands, which may be several tokens."""
    for at in range(len(tokens) - len(stop) + 1 if stop else 0):
        if tokens[at : at + len(stop)] == stop:
            return tokens[:at]
    return tokens


def _encode(prompt: str, template: Template | None, tokenizer: Tokenizer) -> np.ndarray:
    """Tokens of a user message in a template, or of plain text where there is none."""
    if template is not None:
        return encode_prompt([Message("user", prompt)], template, tokenizer)
    tokens = tokenizer.encode(prompt).ids
    if tokenizer.adds_bos and tokenizer.bos_id is not None:
        return np.insert(tokens, 0, tokenizer.bos_id)
    if not len(tokens):
        raise ConfigError("--prompt is empty, and this tokenizer has no BOS to start from; set some text")
    return tokens


def _params(config: Config, workdir: str | None, shardings: Params) -> Params:
    """Parameters of a run's latest checkpoint, or of the pretrained model."""
    if workdir:
        directory = pathlib.Path(workdir) / "checkpoints"
        if not directory.is_dir():
            raise ConfigError(f"--workdir={workdir} has no checkpoints; give the directory of a run")
        abstract = with_shardings(decoder.abstract_params(config.model), shardings)
        saved = SavedModel(directory)
        _check_fits(saved.config(), flatten(config), workdir)
        return saved.params(abstract)
    if config.model.path:
        return load_pretrained(config.model, shardings)
    raise ConfigError("no model to ask; set --workdir=DIR of a run, or --config.model.path")


def _check_fits(saved: dict[str, Any], current: dict[str, Any], workdir: str) -> None:
    """Stop if the run was trained with another model, tokenizer or template than it is asked with."""
    free = ("model.path", "model.remat", "model.attention", "model.compute_dtype", "model.param_dtype")
    for name, value in current.items():
        decides = name.startswith(("model.", "tokenizer.")) or name == "data.template"
        if decides and name not in free and name in saved and saved[name] != value:
            raise ConfigError(
                f"the run in {workdir} was trained with {name}={saved[name]}, not {value}; "
                f"set --config.{name}={saved[name]}"
            )
