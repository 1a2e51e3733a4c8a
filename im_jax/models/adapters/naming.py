"""Names of adapted maps: as users of PEFT write them, of a model's own tensors, or the decoder's."""

import dataclasses
import re
from typing import Final

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError, ConfigError
from im_jax.models.adapters.targets import ALL, MAPS
from im_jax.models.decoder import abstract_params
from im_jax.models.families import family_for
from im_jax.models.files.layout import by_path
from im_jax.models.quantised.maps import wide

_REGEX: Final = "re:"


def resolve_targets(model: ModelConfig) -> ModelConfig:
    """The model with `lora.targets` as `all-linear` or as names of the decoder's maps.

    A name fits, as in PEFT, whatever ends in it behind a dot: `q_proj` or `self_attn.q_proj` in the tensors
    of a Llama, `query` or `attention.query` here. A tensor that is several maps, such as `qkv_proj`, means
    all of them. Behind `re:` is a pattern that whole names must match, those of all layers or of none.

    Raises:
        ConfigError: a name or the pattern fits no map, or the pattern takes a map in some layers alone.
    """
    targets = model.lora.targets
    if not model.lora.rank or targets == ALL:
        return model
    names = module_names(model)
    if targets.startswith(_REGEX):
        found = _matching(targets.removeprefix(_REGEX), names)
    else:
        found = set()
        for target in (part.strip() for part in targets.split(",")):
            ends = {name for name, known in names.items() if any(_ends_in(each[0], target) for each in known)}
            if not ends:
                raise ConfigError(f"model.lora.targets={target} is the name of no map{_known(names)}")
            found |= ends
    chosen = [name for name in MAPS if name in found]
    return dataclasses.replace(model, lora=dataclasses.replace(model.lora, targets=",".join(chosen)))


def module_names(model: ModelConfig) -> dict[str, list[list[str]]]:
    """For each map of the layers, its name in every layer: in the tree, and in the files of the model's
    family if there is one."""
    arrays = by_path(abstract_params(dataclasses.replace(wide(model), vocab_size=2)))
    paths = {path.rpartition(".")[2]: path for path in arrays if path.startswith("layers.")}
    names: dict[str, list[list[str]]] = {
        name: [[paths[name]] * model.num_layers] for name in MAPS if name in paths
    }
    try:
        layout = family_for(model, "").layout
    except CheckpointError:
        return names
    for name, known in names.items():
        module = layout[paths[name]].name.removesuffix(".weight")
        known.append([module.format(layer) for layer in range(model.num_layers)])
    return names


def _ends_in(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _matching(pattern: str, names: dict[str, list[list[str]]]) -> set[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"model.lora.targets={_REGEX}{pattern} is no regular expression: {error}") from None
    found = set()
    for name, known in names.items():
        for each in known:
            matches = [bool(compiled.fullmatch(one)) for one in each]
            if all(matches):
                found.add(name)
            elif any(matches):
                without = matches.index(False)
                raise ConfigError(
                    f"model.lora.targets={_REGEX}{pattern} takes {each[matches.index(True)]}, but not "
                    f"{each[without]}; layers are adapted alike: let it match all of them"
                )
    if not found:
        raise ConfigError(f"model.lora.targets={_REGEX}{pattern} matches no map{_known(names)}")
    return found


def _known(names: dict[str, list[list[str]]]) -> str:
    """What there is to choose from, in the shortest form."""
    shown = dict.fromkeys(known[-1][0].rpartition(".")[2] for known in names.values())
    return f"; there are {', '.join(shown)}, and all-linear for all of them"
