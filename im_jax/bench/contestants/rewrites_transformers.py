"""Training and greedy answers of transformers in a plain loop: GPT2LMHeadModel, fused AdamW, `generate`."""

import itertools
from typing import Any

import numpy as np

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, load, repeated
from im_jax.bench.contestants import rewrites_data, torch_backend
from im_jax.bench.contestants.rewrites_im_jax import COMPARED
from im_jax.bench.contestants.small_gpt2 import weights
from im_jax.bench.sizes import (
    REWRITES_BETAS,
    REWRITES_CLIP_NORM,
    REWRITES_EPS,
    REWRITES_LEARNING_RATE,
    SmallSizes,
)


def make(case: Case, variant: str) -> Contestant:
    """The work of the case, as often a call as ours."""
    del variant
    torch, device = torch_backend.start()
    model = load_model(case).to(device)
    return (_training if case.work == "train" else _answers)(case, torch, device, model)


def load_model(case: Case) -> Any:
    """The initial weights as a GPT2LMHeadModel without dropout, attention as transformers chooses it."""
    torch, transformers = load("torch"), load("transformers")
    sizes, tensors = SmallSizes(*case.model), weights(case)
    vocabulary, positions = (len(tensors[f"transformer.{name}.weight"]) for name in ("wte", "wpe"))
    config = transformers.GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=sizes.embed,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        bos_token_id=None,
        eos_token_id=None,  # all contestants decode as many tokens as the right answers have
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    )
    model = transformers.GPT2LMHeadModel(config)
    missing = model.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys, missing
    model.tie_weights()
    return model


def _training(case: Case, torch: Any, device: str, model: Any) -> Contestant:
    optimizer = torch.optim.AdamW(
        model.train().parameters(),
        lr=REWRITES_LEARNING_RATE,
        betas=REWRITES_BETAS,
        eps=REWRITES_EPS,
        weight_decay=0.0,
        fused=True,
    )
    first_target = rewrites_data.tokens_of(case) - rewrites_data.answer_tokens(case)
    batches = []
    for batch in rewrites_data.first_batches(case):
        tokens = torch.from_numpy(np.array(batch.tokens)).long().to(device)
        labels = tokens.clone()
        labels[:, :first_target] = -100
        batches.append((tokens, labels))
    turn, losses = itertools.cycle(batches), []

    def step() -> None:
        tokens, labels = next(turn)
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), REWRITES_CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())

    return Contestant(
        repeated(step, rewrites_data.times_of(case), lambda: torch_backend.wait(torch, device)),
        lambda: {"losses": [loss.item() for loss in losses[:COMPARED]]},
        torch_backend.device_name(torch, device),
        {},
    )


def _answers(case: Case, torch: Any, device: str, model: Any) -> Contestant:
    model.eval()
    source, new = rewrites_data.Prompts(case), rewrites_data.answer_tokens(case)
    prompts = [
        torch.from_numpy(source.encode(source.examples(i))).long().to(device)
        for i in range(rewrites_data.PREPARED)
    ]
    masks = [torch.ones_like(tokens) for tokens in prompts]
    turn, answers = itertools.cycle(zip(prompts, masks, strict=True)), []

    def answer() -> None:
        tokens, mask = next(turn)
        whole = model.generate(
            input_ids=tokens,
            attention_mask=mask,
            max_new_tokens=new,
            do_sample=False,
            use_cache=True,
            pad_token_id=0,
        )
        answers.append(whole[:, -new:].cpu())

    def values() -> dict[str, Any]:
        return {"answers": torch.cat(answers[: rewrites_data.PREPARED]).flatten().tolist()}

    call = repeated(answer, rewrites_data.times_of(case), lambda: None)
    return Contestant(call, values, torch_backend.device_name(torch, device), {})
