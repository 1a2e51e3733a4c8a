"""Tasks on real data through our adapter and through the harness's own `hf` model: larger than a test may be.

    python -m tests.evaluation.harness.check_parity DATA MODEL [ITEMS] [NEW_TOKENS]

DATA is a folder laid out as docs/evaluation.md says, MODEL `stories260k` or a family of
tests/models/test_families.py, whose sizes are drawn at random with GPT-2's tokenizer. Prints how far they are
apart; the exit code is 1 where a metric, a flag of greedy or a generated text differs, or a likelihood by
more than 1e-3.
"""

import json
import pathlib
import sys
import tempfile
from typing import Any, Final

import tokenizers
from tokenizers import pre_tokenizers

from im_jax.evaluation.harness import library
from im_jax.evaluation.harness.asking import answers_of
from im_jax.evaluation.harness.loading import Wanted, ready
from im_jax.evaluation.harness.running import Found, run
from tests.evaluation.harness.made_model import opened
from tests.models.test_families import peer

TASKS: Final = (
    *("mmlu_abstract_algebra", "mmlu_anatomy", "mmlu_astronomy", "mmlu_business_ethics"),
    *("arc_easy", "arc_challenge", "openbookqa", "winogrande", "piqa", "wsc273"),
    *("truthfulqa_mc1", "truthfulqa_mc2", "gsm8k_cot"),
    *("bbh_cot_fewshot_snarks", "bbh_cot_fewshot_navigate", "bbh_cot_fewshot_date_understanding"),
)
_POSITIONS: Final = 2048
_QWEN_WORDS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How transformers cuts texts for a Qwen 2, whatever its tokenizer.json says."""


def write_model(name: str, data: pathlib.Path, folder: pathlib.Path) -> None:
    """A model with its tokenizer, as a Hugging Face folder."""
    if name == "stories260k":
        from im_jax.export import run as export

        stories = data / "tinyllamas_stories260k"
        words = [f"--model={stories}/stories260K.bin", f"--config.tokenizer.path={stories}/tok512.bin"]
        try:
            export(["export", *words, f"--output={folder}"])
        except SystemExit as end:
            assert not end.code, end
        return
    bpe = tokenizers.ByteLevelBPETokenizer(
        str(data / "gpt2_bpe" / "encoder.json"), str(data / "gpt2_bpe" / "vocab.bpe")
    )
    model = peer(name, vocab_size=bpe.get_vocab_size())
    model.config.max_position_embeddings = _POSITIONS
    model.save_pretrained(folder)
    if name.startswith("qwen"):
        split = pre_tokenizers.Split(tokenizers.Regex(_QWEN_WORDS), "isolated")
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        bpe.pre_tokenizer = pre_tokenizers.Sequence([split, letters])
    bpe.add_special_tokens(["<|endoftext|>"])
    bpe.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps(about | special))


def theirs(folder: pathlib.Path, wanted: Wanted) -> Any:
    """What the harness finds with its own model."""
    model = library.module("models.huggingface").HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=16
    )
    with ready(wanted) as loaded:
        return library.module("evaluator").evaluate(
            lm=model, task_dict={"tasks": loaded.tasks, "groups": {}}, limit=wanted.limit, bootstrap_iters=0
        )


def ours(folder: pathlib.Path, wanted: Wanted) -> Found:
    """What the harness finds through our adapter."""
    model = opened(folder)
    with ready(wanted) as loaded:
        found = run(model, loaded, answers_of(model))
    assert found is not None
    return found


class Compared:
    """Counts of what was compared, and what differs."""

    def __init__(self) -> None:
        self.likelihoods, self.flags, self.texts, self.metrics = 0, 0, 0, 0
        self.furthest = 0.0
        self.different: list[str] = []

    def item(self, where: str, a: Any, b: Any) -> None:
        """What a model said of an item, however it is nested."""
        if isinstance(a, dict):
            a, b = list(a.values()), list(b.values())
        if isinstance(a, str | bool):
            self.texts += isinstance(a, str)
            self.flags += isinstance(a, bool)
            if a != b:
                self.different.append(f"{where}: {a!r}, theirs {b!r}")
        elif isinstance(a, float):
            self.likelihoods += 1
            self.furthest = max(self.furthest, abs(a - b))
            if abs(a - b) > 1e-3:
                self.different.append(f"{where}: {a}, theirs {b}")
        else:
            assert len(a) == len(b), where
            for one, other in zip(a, b, strict=True):
                self.item(where, one, other)


def compare(found: Found, other: Any) -> Compared:
    """Every item of every task."""
    compared = Compared()
    assert other["samples"].keys() == found.items.keys()
    for task, samples in other["samples"].items():
        for sample in samples:
            item, where = found.items[task][sample["doc_id"]], f"{task}/{sample['doc_id']}"
            assert item.prompt_hash == sample["prompt_hash"], where
            compared.item(where, item.more["responses"], sample["resps"])
            for metric in sample["metrics"]:
                compared.metrics += 1
                mine, yours = item.metrics[f"{metric},{sample['filter']}"], sample[metric]
                if abs(mine - yours) > 1e-4:
                    compared.different.append(f"{where} {metric}: {mine}, theirs {yours}")
    return compared


def main(data: str, name: str, items: str = "12", new_tokens: str = "64") -> None:
    """Compares, prints, and exits."""
    wanted = Wanted(TASKS, pathlib.Path(data), limit=int(items), max_new_tokens=int(new_tokens))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        write_model(name, pathlib.Path(data), folder)
        compared = compare(ours(folder, wanted), theirs(folder, wanted))
    print(
        f"{name}: {compared.likelihoods} likelihoods, apart by {compared.furthest:.1e} at most; "
        f"{compared.flags} flags, {compared.texts} texts, {compared.metrics} metrics; "
        f"{len(compared.different)} differences"
    )
    print("\n".join(compared.different))
    sys.exit(bool(compared.different))


if __name__ == "__main__":
    main(*sys.argv[1:])
