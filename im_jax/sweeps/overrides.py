"""Fields of a configuration by their dotted paths: setting them, and the hash of what decides a run."""

import copy
import dataclasses
import difflib
import hashlib
import json
import typing
from typing import Any, Final

from im_jax.config import Config, flatten
from im_jax.errors import ConfigError
from im_jax.sweeps.definition import Overrides

# What a run writes, and on what it is computed. The hardware is in no field either.
_WITHOUT_EFFECT: Final = ("log.", "checkpoint.", "mesh.", "data.workers")


def with_overrides(base: Config, overrides: Overrides) -> Config:
    """A copy of a configuration with fields set.

    Raises:
        ConfigError: a name is no field. Values are not checked here.
    """
    config = copy.deepcopy(base)
    for path, value in overrides.items():
        check_field(path)
        *groups, name = path.split(".")
        owner: Any = config
        for group in groups:
            owner = getattr(owner, group)
        setattr(owner, name, value)
    return config


def check_field(path: str) -> None:
    """Stop at what is no field of a configuration, naming similar ones."""
    known = list(flatten(Config()))
    if path in known:
        return
    inside = [name for name in known if name.startswith(f"{path}.")]
    if inside:
        raise ConfigError(f"{path} is a group; set one of its fields: {', '.join(inside)}")
    last = str(path).rpartition(".")[2]
    near = difflib.get_close_matches(str(path), known, n=3)
    near += [name for name in known if name.rpartition(".")[2] == last and name not in near]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "docs/configuration.md lists all fields"
    raise ConfigError(f"{path}: no such field; {hint}")


def config_hash(config: Config) -> str:
    """Eight hexadecimal digits that change with any field that can change the results of a run."""
    flat = {name: value for name, value in _canonical(config).items() if not name.startswith(_WITHOUT_EFFECT)}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:8]


def _canonical(group: Any, prefix: str = "") -> dict[str, Any]:
    """`flatten`, with whole numbers in fields of real numbers written as those: 1 and 1.0 are one run."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(group):
        value, path = getattr(group, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            flat.update(_canonical(value, path + "."))
        elif isinstance(value, int) and float in (typing.get_args(field.type) or (field.type,)):
            flat[path] = float(value)
        else:
            flat[path] = value
    return flat
