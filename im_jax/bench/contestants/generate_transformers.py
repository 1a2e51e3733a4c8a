"""Greedy answers of transformers' `generate`, in batches of prompts of similar lengths, padded left."""

from typing import Any

import numpy as np

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, Values, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.generate_prompts import asked, positions
from im_jax.data.tokenizers import make_tokenizer


def make(case: Case, variant: str) -> Contestant:
    """All prompts of the case; the variant `transformers_64` takes 64 at a time, the longest first.

    A row of a batch that has all of its tokens waits for the others, as after an end-of-sequence token.
    """
    torch, device = torch_backend.start()
    transformers = load("transformers")
    dtype, size = getattr(torch, case.dtype), int(variant.rpartition("_")[2])
    prompts = asked(case)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        case.checkpoint, dtype=dtype, max_position_embeddings=positions(prompts)
    )
    model = model.to(device).eval()
    model.generation_config.eos_token_id = None
    tokenizer = make_tokenizer(case.tokenizer)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number].tokens))
    answers: dict[int, list[int]] = {}

    def call() -> None:
        for start in range(0, len(order), size):
            some = order[start : start + size]
            width = max(len(prompts[number].tokens) for number in some)
            tokens, mask = np.zeros((2, len(some), width), np.int64)
            for row, number in enumerate(some):
                prompt = prompts[number].tokens
                tokens[row, width - len(prompt) :] = prompt
                mask[row, width - len(prompt) :] = 1
            new = [prompts[number].new for number in some]
            with torch.inference_mode():
                whole = model.generate(
                    input_ids=torch.from_numpy(tokens).to(device),
                    attention_mask=torch.from_numpy(mask).to(device),
                    max_new_tokens=max(new),
                    do_sample=False,
                    pad_token_id=0,
                    stopping_criteria=[_enough(torch.tensor(new, device=device) + width)],
                )
            for number, row in zip(some, whole[:, width:].tolist(), strict=True):
                answers[number] = row[: prompts[number].new]
                tokenizer.decode(answers[number])

    def values() -> Values:
        return {"answers": [token for number in range(len(prompts)) for token in answers[number]]}

    return Contestant(call, values, torch_backend.device_name(torch, device), {})


def _enough(sizes: Any) -> Any:
    """Ends each row of a batch at its own size."""

    def done(tokens: Any, _: Any, **__: Any) -> Any:
        return tokens.shape[1] >= sizes

    return done
