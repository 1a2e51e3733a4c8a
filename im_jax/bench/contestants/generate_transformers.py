"""Greedy answers of transformers' `generate`, in batches of prompts of similar lengths, padded left."""

import numpy as np

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, Values, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.generate_prompts import positions, prompts
from im_jax.data.tokenizers import make_tokenizer


def make(case: Case, variant: str) -> Contestant:
    """All prompts of the case; the variant `transformers_64` takes 64 at a time, the longest first."""
    torch, device = torch_backend.start()
    transformers = load("transformers")
    dtype, size = getattr(torch, case.dtype), int(variant.rpartition("_")[2])
    asked, new = prompts(case), case.shape[1]
    model = transformers.AutoModelForCausalLM.from_pretrained(
        case.checkpoint, dtype=dtype, max_position_embeddings=positions(asked, new)
    )
    model = model.to(device).eval()
    model.generation_config.eos_token_id = None
    tokenizer = make_tokenizer(case.tokenizer)
    order = sorted(range(len(asked)), key=lambda number: -len(asked[number]))
    answers: dict[int, list[int]] = {}

    def call() -> None:
        for start in range(0, len(order), size):
            some = order[start : start + size]
            width = max(len(asked[number]) for number in some)
            tokens, mask = np.zeros((2, len(some), width), np.int64)
            for row, number in enumerate(some):
                tokens[row, width - len(asked[number]) :] = asked[number]
                mask[row, width - len(asked[number]) :] = 1
            with torch.inference_mode():
                whole = model.generate(
                    input_ids=torch.from_numpy(tokens).to(device),
                    attention_mask=torch.from_numpy(mask).to(device),
                    max_new_tokens=new,
                    do_sample=False,
                    pad_token_id=0,
                )
            for number, row in zip(some, whole[:, width:].tolist(), strict=True):
                answers[number] = row
                tokenizer.decode(row)

    def values() -> Values:
        return {"answers": [token for number in range(len(asked)) for token in answers[number]]}

    return Contestant(call, values, torch_backend.device_name(torch, device), {})
