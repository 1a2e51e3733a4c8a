"""Fields of a configuration by their dotted names: reading, setting, comparing and hashing them."""

import copy
import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from im_jax.config.record import Decides, Record, records
from im_jax.config.root import Config
from im_jax.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound=Config)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaf fields of a configuration as `{"loss.policy": "im", ...}`, in order of declaration."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value, path = getattr(config, item.name), prefix + item.name
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = value
    return flat


def to_json(config: Any) -> str:
    """A configuration as indented JSON, field order kept."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def with_overrides(base: ConfigType, overrides: Mapping[str, Any]) -> ConfigType:
    """A copy of a configuration with fields set.

    Raises:
        ConfigError: a name is no field. Values are not checked here.
    """
    config = copy.deepcopy(base)
    for path, value in overrides.items():
        check_field(path, type(base))
        *groups, name = path.split(".")
        owner: Any = config
        for group in groups:
            owner = getattr(owner, group)
        setattr(owner, name, value)
    return config


def difference(config: Config) -> dict[str, Any]:
    """The fields that differ from their defaults, with their values; 1 is 1.0 where numbers may be real."""
    known = records(type(config))
    found = {}
    for name, value in flatten(config).items():
        if float in known[name].types and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value != known[name].default:
            found[name] = value
    return found


def config_hash(config: Config) -> str:
    """Eight hexadecimal digits that change with whatever can change the results of a run.

    They are made of differences from the defaults in fields that decide the result. So a new field leaves the
    hash of every run as it was before there was such a field, and so does a field that decides only speed.
    """
    known = records(type(config))
    counted = {
        name: value for name, value in difference(config).items() if known[name].decides is Decides.RESULT
    }
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:8]


def group_texts(kind: type = Config, prefix: str = "") -> dict[str, str]:
    """What each group of fields is for: the first line of its class, by its dotted name."""
    texts = {}
    for item in dataclasses.fields(kind):
        if isinstance(item.type, type) and dataclasses.is_dataclass(item.type):
            name = prefix + item.name
            texts[name] = (item.type.__doc__ or "").partition("\n")[0]
            texts |= group_texts(item.type, f"{name}.")
    return texts


def as_flag(value: Any) -> str:
    """A value as a flag writes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_field(path: str, kind: type = Config, prefix: str = "") -> None:
    """Stop at what is no field of a configuration, naming similar ones with `prefix` before them.

    Raises:
        ConfigError: there is no such field, or it is a group.
    """
    known = records(kind)
    if path in known:
        return
    inside = [name for name in known if name.startswith(f"{path}.")]
    if inside:
        raise ConfigError(f"{prefix}{path} is a group; set one of its fields: {', '.join(inside)}")
    near = " or ".join(prefix + name for name in similar(str(path), known))
    hint = f"did you mean {near}?" if near else "docs/configuration.md and --help=all list all fields"
    raise ConfigError(f"{prefix}{path}: no such field; {hint}")


def similar(path: str, known: Iterable[str]) -> list[str]:
    """Up to three fields that may have been meant: names like it, then the same name in another group."""
    names = list(known)
    near = difflib.get_close_matches(path, names, n=3)
    last = path.rpartition(".")[2]
    near += [name for name in names if name.rpartition(".")[2] == last and name not in near]
    return near[:3]


def without_effect(record: Record, config: Config) -> str:
    """Why a field has no effect in a configuration; empty where it has one."""
    if record.when is None:
        return ""
    other = flatten(config)[record.when.field]
    if str(other) in record.when.values:
        return ""
    if record.when.otherwise:
        return record.when.otherwise.format(value=other)
    return f"it needs {record.when}, not {record.when.field}={other}"
