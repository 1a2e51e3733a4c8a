"""One optimiser step of an adapter of PEFT on LlamaForCausalLM in a plain loop, fused AdamW.

`_compact` gives the head only the hidden states that have a target with loss. bfloat16 is autocast over
float32 weights; adapters are float32, as PEFT has them.
"""

import contextlib
from typing import Any

from im_jax.bench.case import Case, adapter_inputs, train_inputs
from im_jax.bench.contestant import Contestant, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.train_step_transformers import load_model
from im_jax.bench.sizes import BETAS, EPS, LEARNING_RATE, LORA_ALPHA


def make(case: Case, variant: str) -> Contestant:
    """The step of a loop that a user writes."""
    torch, device = torch_backend.start()
    model = adapted(case).to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=0.0, fused=True
    )
    inputs = train_inputs(case)
    tokens = torch.from_numpy(inputs.tokens).long().to(device)
    labels = torch.where(torch.from_numpy(inputs.trained).to(device), tokens, -100)
    losses: list[float] = []

    def loss_of() -> Any:
        if variant == "peft":
            return model(input_ids=tokens, labels=labels).loss
        causal = model.get_base_model()
        hidden = causal.model(input_ids=tokens).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        kept = targets != -100
        return torch.nn.functional.cross_entropy(causal.lm_head(hidden[kept]).float(), targets[kept])

    def call() -> None:
        narrow = torch.autocast(device, torch.bfloat16) if case.dtype == "bfloat16" else None
        with narrow or contextlib.nullcontext():
            loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch_backend.wait(torch, device)
        losses.append(loss.item())

    return Contestant(call, lambda: {"losses": losses}, torch_backend.device_name(torch, device), {})


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
