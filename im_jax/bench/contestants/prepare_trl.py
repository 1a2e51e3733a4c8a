"""Preparation of instruction data by TRL: its trainer's own, with masks of what the assistant says."""

import functools
import os
import pathlib
import time
from typing import Any, Final

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, Values, load
from im_jax.bench.contestants.prepare_records import records_file
from im_jax.data.tokenizers import make_tokenizer
from im_jax.hardware import cores

# The format of the template `tulu`; TRL learns from the marks what the assistant says.
_TEMPLATE: Final = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content.strip() + eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content.strip() }}{% endif %}{{ '' if loop.last else '\\n' }}{% endfor %}"
)


def make(case: Case, variant: str) -> Contestant:
    """Variant: none. The records are read before, and only the preparation of them is timed."""
    del variant
    datasets, transformers, trl = load("datasets"), load("transformers"), load("trl")
    datasets.disable_caching()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = _tokenizer(case.tokenizer, transformers)
    records = datasets.load_dataset("json", data_files=records_file(case), split="train").select_columns(
        "messages"
    )
    counted: Values = {}
    scratch = str(pathlib.Path(case.checkpoint) / "trl")
    tiny = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    arguments = functools.partial(
        trl.SFTConfig,
        scratch,
        max_length=case.shape[1],
        packing=True,
        assistant_only_loss=True,
        dataset_num_proc=cores(),
        report_to=[],
        use_cpu=True,
        bf16=False,
    )

    def call() -> float:
        seconds = 0.0
        trainer = trl.SFTTrainer

        class Timed(trainer):  # type: ignore[misc,valid-type]
            def _prepare_dataset(self, *args: Any, **kwargs: Any) -> Any:
                nonlocal seconds
                began = time.perf_counter()
                made = super()._prepare_dataset(*args, **kwargs)
                seconds += time.perf_counter() - began
                return made

        model = transformers.LlamaForCausalLM(tiny)
        made = Timed(model, arguments(), train_dataset=records, processing_class=tokenizer).train_dataset
        lengths = [sum(row) for row in made["seq_lengths"]]
        counted.update(examples=len(records), tokens=sum(lengths), rows=len(made))
        return seconds

    return Contestant(call, lambda: dict(counted), f"{cores()} processes", {})


def _tokenizer(path: str, transformers: Any) -> Any:
    """The tokenizer as transformers reads it, with the special tokens that it has here."""
    ours, place = make_tokenizer(path), pathlib.Path(path)
    if (place / "tokenizer.json").is_file():
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(place / "tokenizer.json"))
    else:
        tokenizer = transformers.LlamaTokenizer.from_pretrained(path, add_bos_token=False)
    tokenizer.eos_token = tokenizer.pad_token = ours.eos_text
    tokenizer.bos_token = ours.bos_text if ours.adds_bos else ""
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
