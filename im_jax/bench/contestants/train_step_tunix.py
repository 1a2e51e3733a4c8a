"""One optimiser step of Tunix's PeftTrainer, all weights trained: the step that its loop compiles.

The environment of Tunix may lack what im_jax needs, so only NumPy-based modules of the benchmark are used.
In bfloat16 the weights are bfloat16 too: this model has no other type to compute in.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from im_jax.bench.case import Case, train_inputs
from im_jax.bench.contestant import Contestant, load
from im_jax.bench.sizes import BETAS, EPS, LEARNING_RATE, NORM_EPS, ROPE_THETA, Sizes


def make(case: Case, variant: str) -> Contestant:
    """The jitted step of the trainer, called as its loop calls it, and waited for."""
    del variant
    peft_trainer, utils = load("tunix.sft.peft_trainer"), load("tunix.sft.utils")
    optimizer = optax.adamw(LEARNING_RATE, b1=BETAS[0], b2=BETAS[1], eps=EPS, weight_decay=0.0)
    config = peft_trainer.TrainingConfig(eval_every_n_steps=10**9, max_steps=10**9)
    trainer = peft_trainer.PeftTrainer(_model(case), optimizer, config)

    def model_input(batch: Any) -> dict[str, jax.Array]:
        exists = jnp.ones_like(batch.input_tokens, dtype=bool)
        return {
            "input_tokens": batch.input_tokens,
            "input_mask": batch.input_mask,
            "positions": utils.build_positions_from_mask(exists),
            "attention_mask": utils.make_causal_attn_mask(exists),
        }

    trainer = trainer.with_gen_model_input_fn(model_input)
    inputs = train_inputs(case)
    batch = peft_trainer.TrainingInput(
        input_tokens=jnp.asarray(inputs.tokens), input_mask=jnp.asarray(inputs.trained)
    )
    step, _ = trainer.jit_train_and_eval_step(cache_nnx_graph=True)
    losses: list[float] = []

    def call() -> None:
        loss, _, norm = step(batch)
        jax.block_until_ready((loss, norm, jax.tree.leaves(_state(trainer.model))))
        losses.append(float(loss))

    return Contestant(call, lambda: {"losses": losses}, str(jax.devices()[0].device_kind), {})


def _state(model: Any) -> Any:
    return load("flax.nnx").state(model)


def _model(case: Case) -> Any:
    llama, params = load("tunix.models.llama3.model"), load("tunix.models.llama3.params")
    sizes = Sizes(*case.model)
    config = llama.ModelConfig(
        num_layers=sizes.layers,
        vocab_size=sizes.vocab,
        embed_dim=sizes.embed,
        hidden_dim=sizes.mlp,
        num_heads=sizes.heads,
        head_dim=sizes.embed // sizes.heads,
        num_kv_heads=sizes.kv_heads,
        rope_theta=int(ROPE_THETA),
        norm_eps=NORM_EPS,
    )
    # Its attention leaves `config.rope_theta` out (0.1.7): the function's own default is what counts.
    llama.apply_rope = functools.partial(llama.apply_rope, rope_theta=config.rope_theta)
    mesh = jax.make_mesh(
        (len(jax.devices()), 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    return params.create_model_from_safe_tensors(
        case.checkpoint, config, mesh, dtype=getattr(jnp, case.dtype)
    )
