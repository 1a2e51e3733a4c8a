"""The configuration that a run or a pretrained model brings with it. Imports nothing that is slow."""

import json
import pathlib
from typing import Any

from im_jax.config import Config, LogConfig, MeshConfig, flatten, with_overrides
from im_jax.errors import ConfigError
from im_jax.stores import readable
from im_jax.stores.places import place

_CHAT_TEMPLATES = ("tokenizer_config.json", "chat_template.jinja")


def config_of_run(workdir: str | pathlib.Path) -> Config:
    """What a run was trained with, to ask its model: on the devices that are here, with no loggers.

    Fields that this version of the package does not know are left out.

    Raises:
        ConfigError: the directory is not that of a run, or its config.json is damaged.
    """
    path = place(workdir) / "config.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"--workdir={workdir} has no config.json; give the directory of a run, or also --config=FILE"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; give --config=FILE too") from None
    if not isinstance(saved, dict):
        raise ConfigError(f"{path} holds no configuration; give --config=FILE too")
    known = flatten(Config())
    config = with_overrides(Config(), {k: v for k, v in _flat(saved).items() if k in known})
    config.mesh, config.log = MeshConfig(), LogConfig()
    if not config.model.lora.rank and not config.train.trainable:
        config.model.path = ""  # the architecture is filled in, and the weights are the run's own
    config.loss.kl.weight = 0.0  # whose base was at that path
    config.model.lora.path = ""  # as with the weights; all that it decided is filled in
    return config


def config_of_model(path: str, adapter: str = "") -> Config:
    """How a pretrained model is asked: with the template beside it, or beside its adapter, if there is one.

    Args:
        path: of the model.
        adapter: folder of a PEFT adapter; empty: none.
    """
    config = Config()
    config.model.path, config.model.lora.path = path, adapter
    config.train.steps = 1  # nothing is trained, but a configuration must say how long
    for folder in filter(None, (adapter, path)):
        if any((readable(folder) / name).is_file() for name in _CHAT_TEMPLATES):
            config.data.template = folder
            break
    return config


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
