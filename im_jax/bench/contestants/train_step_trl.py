"""One optimiser step of TRL's SFTTrainer as it comes, without recomputation, saving and reporting.

Its loop runs in a thread that waits at the beginning of each step until the worker asks for one. The step
lasts from `on_step_begin` to `on_step_end`: fetching the batch and logging lie outside.
"""

import queue
import threading
import time
from typing import Any, Final

import numpy as np

from im_jax.bench.case import Case, train_inputs
from im_jax.bench.contestant import Contestant, load
from im_jax.bench.contestants import torch_backend
from im_jax.bench.contestants.train_step_transformers import load_model
from im_jax.bench.sizes import BETAS, EPS, LEARNING_RATE

_STEPS: Final = 1_000_000
"""More than are ever asked for."""


class _Pace:
    """Hands steps from the thread that asks for them to the one that trains, and their times back."""

    def __init__(self) -> None:
        self.asked: queue.Queue[None] = queue.Queue()
        self.done: queue.Queue[float | BaseException] = queue.Queue()
        self.losses: list[float] = []

    def step(self) -> float:
        """Ask for a step; its seconds, once the loop waits for the next."""
        self.asked.put(None)
        result = self.done.get()
        if isinstance(result, BaseException):
            raise result
        return result


def make(case: Case, variant: str) -> Contestant:
    """Steps of `SFTTrainer.train`."""
    del variant
    torch, device = torch_backend.start()
    pace = _Pace()
    trainer = _trainer(case, device)
    trainer.add_callback(_callback(torch, device, pace))

    def train() -> None:
        try:
            trainer.train()
        except BaseException as error:  # the worker reports it
            pace.done.put(error)

    threading.Thread(target=train, daemon=True).start()
    name = torch_backend.device_name(torch, device)
    return Contestant(pace.step, lambda: {"losses": pace.losses}, name, {})


def _callback(torch: Any, device: str, pace: _Pace) -> Any:
    base: Any = load("transformers").TrainerCallback

    class StepByStep(base):
        began: float | None = None
        seconds = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.began is not None:
                pace.done.put(self.seconds)
            pace.asked.get()
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            torch_backend.wait(torch, device)
            self.seconds = time.perf_counter() - (self.began or 0.0)

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            pace.losses.append(logs["loss"])

    return StepByStep()


def _trainer(case: Case, device: str) -> Any:
    trl, datasets = load("trl"), load("datasets")
    inputs = train_inputs(case)
    rows = {
        "input_ids": inputs.tokens.tolist(),
        "labels": np.where(inputs.trained, inputs.tokens, -100).tolist(),
    }
    settings = trl.SFTConfig(
        output_dir=f"{case.checkpoint}/trl",
        per_device_train_batch_size=case.shape[0],  # the whole data set: all steps have the same batch
        max_steps=_STEPS,
        max_length=None,
        gradient_checkpointing=False,
        bf16=case.dtype == "bfloat16",
        use_cpu=device == "cpu",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPS,
        weight_decay=0.0,
        max_grad_norm=0.0,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    return trl.SFTTrainer(
        model=load_model(case, "float32"),
        args=settings,
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=_tokenizer(),
    )


def _tokenizer() -> Any:
    """SFTTrainer wants one, though the rows are tokens already."""
    tokenizers, transformers = load("tokenizers"), load("transformers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
