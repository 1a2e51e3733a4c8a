"""Likelihoods of lm-evaluation-harness's own model `hf`, from the same token ids."""

from typing import Any

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.likelihood_requests import requests


def make(case: Case, variant: str) -> Contestant:
    """All requests of the case; the variant `hf_16` takes 16 at a time."""
    torch, device = torch_backend.start()
    transformers, huggingface = load("transformers"), load("lm_eval.models.huggingface")
    dtype = getattr(torch, case.dtype)
    model = transformers.AutoModelForCausalLM.from_pretrained(case.checkpoint, dtype=dtype).to(device).eval()
    asked = [(("", ""), context, continuation) for context, continuation in requests(case)]
    harness = huggingface.HFLM(
        pretrained=model,
        tokenizer=_tokenizer(transformers),
        batch_size=int(variant.rpartition("_")[2]),
        max_length=case.shape[1],
        device=device,
    )
    scores: list[tuple[float, bool]] = []

    def call() -> None:
        scores[:] = harness._loglikelihood_tokens(asked, disable_tqdm=True)

    def values() -> dict[str, Any]:
        return {
            "logprobs": [float(logprob) for logprob, _ in scores],
            "greedy": [float(greedy) for _, greedy in scores],
        }

    return Contestant(call, values, torch_backend.device_name(torch, device), {})


def _tokenizer(transformers: Any) -> Any:
    """One that is not asked: the requests are token ids."""
    tokenizers = load("tokenizers")
    words = tokenizers.models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(words), eos_token="</s>", pad_token="</s>"
    )
