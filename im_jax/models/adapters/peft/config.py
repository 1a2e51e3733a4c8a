"""adapter_config.json: read, refused where it asks for more than LoRA, and written."""

import re
from pathlib import Path
from typing import Any, Final

from im_jax.errors import CheckpointError
from im_jax.models.adapters.peft.matching import ALL_LINEAR, Names, PeftConfig
from im_jax.models.files.json_keys import Keys, shown

CONFIG: Final = "adapter_config.json"
MERGE: Final = (
    "merge it into its base with PEFT, model.merge_and_unload().save_pretrained(DIR), and set model.path=DIR"
)
"""What helps with every adapter of PEFT."""
_VERSION: Final = "0.21.2"
"""Of the PEFT whose form is read and written."""
_MOST: Final = 2**20
"""The largest rank that is believed."""
_OF_ITSELF: Final = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""Values of `init_lora_weights` that leave the base as it is."""
_MORE_THAN_LORA: Final = {
    "use_dora": "DoRA",
    "modules_to_save": "modules trained beside the adapter",
    "trainable_token_indices": "tokens trained beside the adapter",
    "target_parameters": "an adapter of parameters that are no modules",
    "lora_bias": "a bias of the adapter",
    "layer_replication": "a base with layers repeated",
    "alora_invocation_tokens": "an adapter that some tokens turn on",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "kasa_config": "KaSA",
    "arrow_config": "routing between adapters",
    "monteclora_config": "MonteCLoRA",
}
"""Keys that, unless empty or false, change what is computed, and how that is called."""
_READ: Final = (
    *("peft_type", "bias", "init_lora_weights", "r", "lora_alpha", "use_rslora", "target_modules"),
    *("exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
)
_WITHOUT_EFFECT: Final = (
    # About training, about the base's own layout, about the file, or about how another key was filled in.
    *("lora_dropout", "inference_mode", "ensure_weight_tying", "velora_config"),
    *("fan_in_fan_out", "megatron_config", "megatron_core"),
    *("task_type", "auto_mapping", "base_model_name_or_path", "revision", "peft_version"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size"),
)


def read(directory: Path) -> tuple[PeftConfig, str | None]:
    """The adapter that a folder has, and what its user should know; None if nothing.

    Raises:
        CheckpointError: the file is missing or broken, a value cannot be, or the adapter is more than LoRA.
    """
    if not (directory / CONFIG).is_file():
        raise CheckpointError(
            f"{directory}: has no {CONFIG}, so it is no adapter of PEFT; name a folder that is"
        )
    keys = Keys.of_file(directory / CONFIG)
    if keys.values.get("peft_type") != "LORA":
        raise CheckpointError(f"{keys.fail('peft_type', shown('LORA'))}, the only kind that is read; {MERGE}")
    for key, what in _MORE_THAN_LORA.items():
        if keys.values.get(key):
            raise CheckpointError(
                f"{keys.where}{key} is {shown(keys.values[key])}: {what} is not read; {MERGE}"
            )
    if keys.values.get("bias", "none") != "none":
        raise CheckpointError(f"{keys.fail('bias', shown('none'))}, for biases are not read; {MERGE}")
    _check_base_is_kept(keys)
    return _config(keys), _unknown(keys)


def _check_base_is_kept(keys: Keys) -> None:
    start = keys.values.get("init_lora_weights", True)
    if start in _OF_ITSELF:
        return
    raise CheckpointError(
        f"{keys.where}init_lora_weights is {shown(start)}: such an adapter is of a base that was changed "
        "with it; save it as one of the base itself, with PEFT's model.save_pretrained(DIR, "
        f"path_initial_model_for_weight_conversion=INITIAL), or {MERGE}"
    )


def _config(keys: Keys) -> PeftConfig:
    targets = _names(keys, "target_modules")
    if not targets:
        raise keys.fail("target_modules", "a list of names, an expression, or all-linear")
    return PeftConfig(
        rank=keys.size("r", _MOST, 8),
        alpha=keys.number("lora_alpha", 8, least=1e-9),
        rslora=keys.flag("use_rslora", False),
        targets=targets,
        excluded=_names(keys, "exclude_modules"),
        layers=_layers(keys),
        layers_names=_layers_names(keys),
        ranks={key: ranks.size(key, _MOST) for key, ranks in _patterns(keys, "rank_pattern")},
        alphas={key: alphas.number(key, least=1e-9) for key, alphas in _patterns(keys, "alpha_pattern")},
    )


def _names(keys: Keys, key: str) -> Names:
    value = keys.values.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        is_all = key == "target_modules" and value.lower() == ALL_LINEAR
        return ALL_LINEAR if is_all else _expression(keys, key, value)
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise keys.fail(key, "a list of names, or an expression")


def _layers(keys: Keys) -> tuple[int, ...]:
    value = keys.values.get("layers_to_transform")
    values = [] if value is None else value if isinstance(value, list) else [value]
    if not all(type(number) is int and number >= 0 for number in values):
        raise keys.fail("layers_to_transform", "the number of a layer, or a list of them")
    return tuple(values)


def _layers_names(keys: Keys) -> tuple[str, ...]:
    names = _names(keys, "layers_pattern")
    several = (names,) if isinstance(names, str) else names
    return tuple(_expression(keys, "layers_pattern", name) for name in several if name)


def _patterns(keys: Keys, key: str) -> list[tuple[str, Keys]]:
    section = keys.section(key)
    return [] if section is None else [(_expression(keys, key, name), section) for name in section.values]


def _expression(keys: Keys, key: str, text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise CheckpointError(f"{keys.where}{key}: {shown(text)} is no regular expression: {error}") from None
    return text


def _unknown(keys: Keys) -> str | None:
    """What is said of keys of a newer PEFT, which PEFT leaves out too if it does not know them."""
    known = {*_READ, *_MORE_THAN_LORA, *_WITHOUT_EFFECT}
    unknown = [f"{key}={shown(value)}" for key, value in keys.values.items() if value and key not in known]
    return f"{keys.where}keys that are not known here are left out: {', '.join(unknown)}" if unknown else None


def written(
    *,
    rank: int,
    alpha: float,
    rslora: bool,
    dropout: float,
    targets: list[str],
    ranks: dict[str, int],
    alphas: dict[str, float],
    transposed: bool,
    base: str,
) -> dict[str, Any]:
    """An adapter_config.json, its keys sorted as PEFT sorts them.

    Args:
        rank: of modules that `ranks` does not name.
        alpha: of modules that `alphas` does not name.
        rslora: whether the scale is alpha / sqrt(rank).
        dropout: of the adapter's inputs in training.
        targets: ends of the names of changed modules.
        ranks: by ends of names.
        alphas: by ends of names.
        transposed: whether the base keeps its matrices as `[in, out]`.
        base: the model that the adapter is of: a path, or a name in the Hugging Face hub.
    """
    values = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base or None,
        "revision": None,
        "peft_version": _VERSION,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": _short(alpha),
        "use_rslora": rslora,
        "use_dora": False,
        "lora_dropout": dropout,
        "bias": "none",
        "init_lora_weights": True,
        "target_modules": sorted(targets),
        "exclude_modules": None,
        "modules_to_save": None,
        "fan_in_fan_out": transposed,
        "rank_pattern": ranks,
        "alpha_pattern": {key: _short(value) for key, value in alphas.items()},
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    return dict(sorted(values.items()))


def _short(number: float) -> float:
    """A whole number where it is one: so PEFT writes it."""
    return int(number) if number == int(number) else number
