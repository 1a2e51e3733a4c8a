"""Let a model answer: greedy decoding from a trained run or a pretrained checkpoint.

    python -m im_jax.generate --config=FILE --workdir=DIR --prompt="What is 3 + 4?"
    python -m im_jax.generate --config=FILE --config.model.path=MODEL --mode=text --prompt="Once upon a time"

With --workdir, the parameters are those of the run's latest checkpoint; without, those of model.path. In
`chat` mode each prompt is a user message in the configuration's template; in `text` mode it is continued as
it stands.
"""

import pathlib

import jax
import numpy as np
from absl import flags
from rich.console import Console

from im_jax import command_line, validation
from im_jax.config import Config
from im_jax.data.conversation import Message
from im_jax.data.encoding import encode_prompt
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import ConfigError
from im_jax.models import decoder
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.decoding import greedy
from im_jax.models.sharding import ShardingRules
from im_jax.training import mesh as meshes
from im_jax.training.checkpoint import Checkpoints, with_shardings
from im_jax.training.state import Params


def main(arguments: command_line.CommandLine) -> None:
    config = arguments.config
    meshes.join_cluster(config.mesh)
    tokenizer = make_tokenizer(config.tokenizer.path)
    mode = arguments.flag("mode")
    prompts = [_encode(prompt, mode, config, tokenizer) for prompt in arguments.flag("prompt")]
    if not prompts:
        raise ConfigError("nothing to answer; set --prompt=TEXT, once or several times")
    longest, new = max(map(len, prompts)), arguments.flag("max_new_tokens")

    config.model = resolve_model(config.model)
    if config.model.vocab_size is None:
        config.model.vocab_size = tokenizer.vocab_size
    validation.check_vocabulary(config.model.vocab_size, tokenizer.vocab_size, config.tokenizer.path)
    if longest + new > config.model.max_positions:
        raise ConfigError(
            f"a prompt of {longest} tokens and --max_new_tokens={new} exceed model.max_positions="
            f"{config.model.max_positions}; shorten one of them"
        )
    mesh, rules = meshes.make_mesh(config.mesh), ShardingRules()
    with jax.set_mesh(mesh):
        shardings = decoder.param_shardings(config.model, mesh, rules)
        params = _params(config, arguments.flag("workdir"), shardings)
        tokens = np.zeros((len(prompts), longest), np.int32)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = prompt
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        stop = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        decoded = jax.device_get(greedy(params, config.model, tokens, lengths, new, stop, rules))
    console = Console(quiet=jax.process_index() != 0, soft_wrap=True)
    for row, start, end in zip(decoded.tokens, lengths, decoded.lengths, strict=True):
        console.print(tokenizer.decode(row[start:end].tolist()), highlight=False, markup=False)


def _encode(prompt: str, mode: str, config: Config, tokenizer: Tokenizer) -> np.ndarray:
    if mode == "chat":
        template = make_template(config.data.template, tokenizer)
        return encode_prompt([Message("user", prompt)], template, tokenizer)
    tokens = tokenizer.encode(prompt).ids
    if tokenizer.adds_bos and tokenizer.bos_id is not None:
        return np.insert(tokens, 0, tokenizer.bos_id)
    return tokens


def _params(config: Config, workdir: str | None, shardings: Params) -> Params:
    """Parameters of a run's latest checkpoint, or of the pretrained model."""
    if workdir:
        directory = pathlib.Path(workdir) / "checkpoints"
        if not directory.is_dir():
            raise ConfigError(f"--workdir={workdir} has no checkpoints; give the directory of a run")
        abstract = with_shardings(decoder.abstract_params(config.model), shardings)
        with Checkpoints(directory, config.checkpoint) as saved:
            return saved.restore_params(abstract)
    if config.model.path:
        return load_pretrained(config.model, shardings)
    raise ConfigError("no model to ask; set --workdir=DIR of a run, or --config.model.path")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Directory of a run.", flag_values=values)
    flags.DEFINE_multi_string("prompt", [], "What to answer; may be given several times.", flag_values=values)
    flags.DEFINE_enum("mode", "chat", ["chat", "text"], "How a prompt is read.", flag_values=values)
    flags.DEFINE_integer("max_new_tokens", 128, "Longest answer.", lower_bound=1, flag_values=values)


if __name__ == "__main__":
    command_line.run(main, define_flags)
