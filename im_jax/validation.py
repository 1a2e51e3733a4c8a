"""Checks of a configuration before any work: each failure is one line that says what to set.

What a field may be on its own stands in its record, in `im_jax.config`; here is what must fit together.
"""

import importlib.util

from im_jax.config import Config, ModelConfig, records, without_effect
from im_jax.config.checks import check_fields
from im_jax.config.rewrites_checks import check_rewrites
from im_jax.data.entries import check_entries
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy


def check(config: Config) -> None:
    """Check everything that the configuration alone decides.

    Raises:
        ConfigError: names the field, its value, and what to set instead.
    """
    check_fields(config)
    _check_schedule(config)
    _check_optimizer(config)
    check_entries(config.data)
    if config.data.source == "rewrites":
        check_rewrites(config.data.rewrites)
    if not config.model.path:
        check_model(config.model)
        check_length(config)
    for ramp in make_policy(config.loss).changes.values() if config.train.steps else ():
        ramp.within(config.train.steps)
    if config.model.lora.path and not config.model.path:
        raise ConfigError(
            f"model.lora.path={config.model.lora.path} needs model.path: the base that the adapter is of"
        )
    if config.loss.kl.weight and not config.model.path:
        raise ConfigError(
            f"loss.kl.weight={config.loss.kl.weight:g} needs model.path: the base is the model that the run "
            "starts from, and random weights are none"
        )
    _check_estimator(config)
    if config.log.wandb_project and importlib.util.find_spec("wandb") is None:
        raise ConfigError("log.wandb_project is set, but wandb is not installed: pip install wandb")


def _check_estimator(config: Config) -> None:
    """Stop at what the sampled divergence of the released code cannot do."""
    kl = config.loss.kl
    if kl.estimator != "sampled_released":
        return
    if kl.weight >= 1:
        raise ConfigError(
            f"loss.kl.weight={kl.weight:g} must be below 1 with loss.kl.estimator=sampled_released: it "
            "scales the gradient by 1 - weight, so that at 1 nothing is trained; lower it, or set "
            "loss.kl.estimator=exact"
        )
    if kl.direction != "reverse":
        raise ConfigError(
            f"loss.kl.direction={kl.direction} has no effect with loss.kl.estimator=sampled_released; set it "
            "to reverse, or loss.kl.estimator=exact"
        )


def check_length(config: Config) -> None:
    """Stop if rows are longer than the model is meant for."""
    if config.data.max_length > config.model.max_positions:
        lower = "" if config.model.path else ", or raise the second"
        raise ConfigError(
            f"data.max_length={config.data.max_length} is above model.max_positions="
            f"{config.model.max_positions}; lower the first{lower}"
        )


def choose_rope(config: Config) -> None:
    """Take the long factors of longrope where rows are longer than the old context.

    transformers takes them for a whole batch if any row of it is; here all rows count as `data.max_length`.
    """
    scaling = config.model.rope_scaling
    if scaling.kind == "longrope":
        scaling.use_long = config.data.max_length > scaling.original_max_positions


def check_base(model: ModelConfig) -> None:
    """Stop at weights in 4 bits that nothing is trained beside, or that no file has: adapter filled in."""
    if model.base_dtype != "param_dtype" and not (model.lora.rank and model.path):
        missing = "an adapter (model.lora.rank)" if model.path else "model.path"
        raise ConfigError(
            f"model.base_dtype={model.base_dtype} needs {missing}: it is for a model that is only read; "
            "set that, or leave model.base_dtype at param_dtype"
        )


def check_model(model: ModelConfig) -> None:
    """Check sizes that must fit each other."""
    if model.num_heads % model.num_kv_heads:
        raise ConfigError(
            f"model.num_heads={model.num_heads} must be a multiple of model.num_kv_heads={model.num_kv_heads}"
        )
    if model.head_dim is None and model.embed_dim % model.num_heads:
        raise ConfigError(
            f"model.embed_dim={model.embed_dim} must be a multiple of model.num_heads={model.num_heads}, "
            "or set model.head_dim"
        )
    scaling = model.rope_scaling
    if scaling.kind == "llama3" and scaling.low_freq_factor >= scaling.high_freq_factor:
        raise ConfigError(
            f"model.rope_scaling.low_freq_factor={scaling.low_freq_factor} must be below "
            f"model.rope_scaling.high_freq_factor={scaling.high_freq_factor}"
        )
    if model.positions == "learned" and scaling.kind != "none":
        raise ConfigError(
            f"model.rope_scaling.kind={scaling.kind!r} has no effect with model.positions='learned'; "
            "set it to none"
        )
    if model.positions == "rotary" and (model.head_dim or model.embed_dim // model.num_heads) % 2:
        raise ConfigError("model.head_dim must be even: rotary positions turn pairs of its components")


def resolve_vocabulary(config: Config, tokenizer_size: int) -> None:
    """Fill in `model.vocab_size`, and stop if the tokenizer can give ids that have no embedding."""
    model = config.model
    if model.vocab_size is None:
        model.vocab_size = tokenizer_size
    assert isinstance(model.vocab_size, int), "`grow_vocabulary` comes before"
    if model.vocab_size < tokenizer_size:
        advice = f"set it to {tokenizer_size} or more"
        if model.path:
            advice = (
                "set model.vocab_size=grow to give its tokens rows, or tokenizer.path to the tokenizer of "
                f"{model.path}"
            )
        raise ConfigError(
            f"model.vocab_size={model.vocab_size} is smaller than the {tokenizer_size} entries of "
            f"tokenizer.path={config.tokenizer.path}; {advice}"
        )


def _check_schedule(config: Config) -> None:
    train, optimizer = config.train, config.optimizer
    if not train.steps and not train.epochs:
        raise ConfigError("train.steps=0 and train.epochs=0: set one of them, how long to train")
    if train.steps and train.epochs:
        raise ConfigError(
            f"train.steps={train.steps} and train.epochs={train.epochs:g} are both set; set one of them to 0"
        )
    if train.batch_size % train.accumulate:
        raise ConfigError(
            f"train.batch_size={train.batch_size} is not divisible by train.accumulate={train.accumulate}"
        )
    if train.steps and (optimizer.warmup_steps or 0) > train.steps:
        raise ConfigError(
            f"optimizer.warmup_steps={optimizer.warmup_steps} is more than train.steps={train.steps}"
        )


def _check_optimizer(config: Config) -> None:
    """Stop at constants that the optimiser does not have, and at what schedule-free training rules out."""
    optimizer = config.optimizer
    for name in ("beta1", "beta2", "eps", "mu_dtype"):
        value, record = getattr(optimizer, name), records(Config)[f"optimizer.{name}"]
        if value is not None and (why := without_effect(record, config)):
            raise ConfigError(f"{record.name}={value} has no effect: {why}; set it to none")
    if optimizer.name != "schedule_free_adamw":
        return
    if optimizer.schedule != "constant":
        raise ConfigError(
            f"optimizer.schedule={optimizer.schedule} takes the rate down, in place of which "
            "optimizer.name=schedule_free_adamw averages; set optimizer.schedule=constant"
        )
    if optimizer.beta1 == 0:
        raise ConfigError("optimizer.beta1=0.0 must be above 0 with optimizer.name=schedule_free_adamw")
    if config.model.param_dtype != "float32":
        raise ConfigError(
            f"model.param_dtype={config.model.param_dtype} would round the mean of "
            "optimizer.name=schedule_free_adamw away; set model.param_dtype=float32"
        )
