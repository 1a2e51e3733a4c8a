"""One optimiser step of transformers in a plain loop: LlamaForCausalLM, fused AdamW.

`_compact` gives the head only the hidden states that have a target with loss. bfloat16 is autocast over
float32 weights, as `Trainer(bf16=True)` has it, or with `:bf16_weights` the weights themselves.
"""

import contextlib
from typing import Any

from im_jax.bench.case import Case, train_inputs
from im_jax.bench.contestant import CannotRun, Contestant, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.sizes import BETAS, EPS, LEARNING_RATE


def make(case: Case, variant: str) -> Contestant:
    """The step of a loop that a user writes."""
    name, _, weights = variant.partition(":")
    if weights and case.dtype == "float32":
        raise CannotRun("only for bfloat16")
    model = load_model(case, "bfloat16" if weights else "float32")
    autocast = case.dtype == "bfloat16" and not weights
    return loop(case, model, model, compact=name != "transformers", autocast=autocast)


def loop(case: Case, model: Any, causal: Any, *, compact: bool, autocast: bool) -> Contestant:
    """The steps of a model, of whose parameters some may be frozen.

    Args:
        case: what is trained.
        model: what is called.
        causal: the LlamaForCausalLM that it is or has in it.
        compact: whether the head is given only the hidden states that have a target with loss.
        autocast: to bfloat16.
    """
    torch, device = torch_backend.start()
    model.to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=0.0, fused=True
    )
    inputs = train_inputs(case)
    tokens = torch.from_numpy(inputs.tokens).long().to(device)
    labels = torch.where(torch.from_numpy(inputs.trained).to(device), tokens, -100)
    losses: list[float] = []

    def loss_of() -> Any:
        if not compact:
            return model(input_ids=tokens, labels=labels).loss
        hidden = causal.model(input_ids=tokens).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        kept = targets != -100
        logits = causal.lm_head(hidden[kept]).float()
        return torch.nn.functional.cross_entropy(logits, targets[kept])

    def call() -> None:
        with torch.autocast(device, torch.bfloat16) if autocast else contextlib.nullcontext():
            loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch_backend.wait(torch, device)
        losses.append(loss.item())

    return Contestant(call, lambda: {"losses": losses}, torch_backend.device_name(torch, device), {})


def load_model(case: Case, dtype: str) -> Any:
    """The initial weights as a LlamaForCausalLM in training mode, attention as transformers chooses it."""
    torch, transformers = load("torch"), load("transformers")
    model = transformers.LlamaForCausalLM.from_pretrained(case.checkpoint, dtype=getattr(torch, dtype))
    return model.train()
