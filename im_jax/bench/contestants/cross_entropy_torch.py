"""Loss and both gradients of a linear head in torch: plain, chunked, Liger and Cut Cross-Entropy.

Variants that end in `_compact` select the tokens with loss first; the others mark the rest with -100.
"""

from collections.abc import Callable
from typing import Any

from im_jax.bench.case import Case, cross_entropy_inputs
from im_jax.bench.contestant import CannotRun, Contestant, Values, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.cross_entropy_values import describe_result

Loss = Callable[[Any, Any, Any], Any]
"""Mean loss from hidden states `[N, D]`, head `[V, D]` (as torch keeps it) and labels."""


def make(case: Case, variant: str) -> Contestant:
    """One call: the loss, then its gradients by the hidden states and the head."""
    name = variant.removesuffix("_compact")
    torch, device = torch_backend.start() if name.startswith("torch") else torch_backend.start_on_gpu()
    loss_of = _loss(torch, name)
    inputs = cross_entropy_inputs(case)
    dtype = getattr(torch, case.dtype)
    hidden = torch.from_numpy(inputs.hidden).to(device, dtype).requires_grad_()
    head = torch.from_numpy(inputs.head.T).to(device, dtype).contiguous().requires_grad_()
    active = torch.from_numpy(inputs.active).to(device)
    labels = torch.from_numpy(inputs.labels).long().to(device)
    masked = torch.where(active, labels, -100)

    def step() -> Any:
        hidden.grad = head.grad = None
        if name == variant:
            loss = loss_of(hidden, head, masked)
        else:
            loss = loss_of(hidden[active], head, labels[active])
        loss.backward()
        return loss

    def values(loss: Any) -> Values:
        d_hidden, d_head = (torch_backend.to_numpy(x.grad) for x in (hidden, head))
        return describe_result(inputs, loss.item(), d_hidden, d_head.T)

    return torch_backend.contestant(step, values)


def _loss(torch: Any, name: str) -> Loss:
    functional = torch.nn.functional
    match name:
        case "torch":

            def plain(hidden: Any, head: Any, labels: Any) -> Any:
                return functional.cross_entropy(functional.linear(hidden, head).float(), labels)

            return plain
        case "torch_chunked":
            if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
                raise CannotRun(f"torch {torch.__version__} has no chunked linear_cross_entropy")
            options = torch.nn.LinearCrossEntropyOptions()
            return lambda hidden, head, labels: functional.linear_cross_entropy(
                hidden, head, labels, options=options
            )
        case "liger":
            fused = load("liger_kernel.transformers").LigerFusedLinearCrossEntropyLoss()
            return lambda hidden, head, labels: fused(head, hidden, labels)
        case _:
            cut = load("cut_cross_entropy").linear_cross_entropy
            # By default, gradient blocks below a threshold are dropped.
            exact = {"filter_eps": None} if name == "cce_exact" else {}
            return lambda hidden, head, labels: cut(hidden, head, labels, **exact)
