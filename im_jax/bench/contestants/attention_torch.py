"""torch's scaled dot-product attention with the whole mask, forward and backward."""

from typing import Any

from im_jax.bench.case import Case, attention_inputs, attention_mask
from im_jax.bench.contestant import Contestant, Values
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.attention_values import describe_result


def make(case: Case, variant: str) -> Contestant:
    """One call: the output, and the gradients of queries, keys and values."""
    del variant
    torch, device = torch_backend.start()
    inputs = attention_inputs(case)
    query, key, value, d_output = (
        torch.from_numpy(x).to(device, getattr(torch, case.dtype)).transpose(1, 2).contiguous()
        for x in inputs[:4]  # heads before the length, as torch has them
    )
    mask = torch.from_numpy(attention_mask(inputs.segments)).to(device)
    for x in (query, key, value):
        x.requires_grad_()

    def step() -> Any:
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return (output, *torch.autograd.grad(output, (query, key, value), d_output))

    def values(result: Any) -> Values:
        return describe_result(*(torch_backend.to_numpy(x.transpose(1, 2)) for x in result))

    return torch_backend.contestant(step, values)
