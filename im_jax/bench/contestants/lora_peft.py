"""One optimiser step of an adapter of PEFT on LlamaForCausalLM in a plain loop, fused AdamW.

`_compact` gives the head only the hidden states that have a target with loss. bfloat16 is autocast over
float32 weights; adapters are float32, as PEFT has them.
"""

from typing import Any

from im_jax.bench.case import Case, adapter_inputs
from im_jax.bench.contestant import Contestant, load
from im_jax.bench.contestants.train_step_transformers import load_model, loop
from im_jax.bench.sizes import LORA_ALPHA


def make(case: Case, variant: str) -> Contestant:
    """The step of a loop that a user writes."""
    model = adapted(case)
    autocast = case.dtype == "bfloat16"
    return loop(case, model, model.get_base_model(), compact=variant != "peft", autocast=autocast)


def adapted(case: Case) -> Any:
    """The model with adapters on all linear maps of its layers, in training mode."""
    torch, peft = load("torch"), load("peft")
    config = peft.LoraConfig(
        r=case.rank,
        lora_alpha=LORA_ALPHA,
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(load_model(case, "float32"), config)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:  # base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight
            module, layer = (
                name.split(".lora_A")[0].rpartition(".")[2],
                int(name.split(".layers.")[1].split(".")[0]),
            )
            a = adapter_inputs(module, layer, parameter.shape[1], case.rank)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(a.T.copy()))
    return model.train()
