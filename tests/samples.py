"""The files that samples in the documents speak of, made as they are told there, and commands run on them."""

import importlib
import json
import re
import shlex
import struct
from pathlib import Path
from typing import Any

import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"

_ANSWERS = "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
_EACH = "{%- for m in messages -%}BODY{%- endfor -%}"
_TURN = {"prompt": "What is 2 + 3?", "completion": "5"}
_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 258,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 256,
}


def make_place(path: Path) -> None:
    """Write all of them into a directory."""
    (path / "configs").symlink_to(REPOSITORY / "configs")
    for name, text in (_records() | _templates() | _programs()).items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    (path / "bad7.jsonl").write_bytes('{"prompt": "café", "completion": "b"}'.encode("latin-1"))
    changes: dict[str, dict[str, Any]] = {
        "m1": {"architectures": ["MixtralForCausalLM"]},
        "m2": {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "m3": {"mlp_bias": True},
        "m4": {"hidden_size": "16"},
    }
    for name, changed in changes.items():
        (path / name).mkdir()
        (path / name / "config.json").write_text(json.dumps(_LLAMA | changed))
    _write_llama2c(path / "stories260K.bin", vocabulary=512)
    _write_sentencepiece(path / "tokenizer.model", entries=32_000)


def run(words: str, place: Path, patch: pytest.MonkeyPatch) -> int:
    """Run a command as it is typed in a directory; returns its exit code."""
    patch.chdir(place)
    patch.setenv("COLUMNS", "80")
    name, *arguments = shlex.split(words)
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"im_jax.{name}").run([name, *arguments])
    return int(end.value.code or 0)


def quoted(page: str) -> list[str]:
    """The code blocks of a page that are of no language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(.*?)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for language, block in blocks if not language]


def _records() -> dict[str, str]:
    data = (DOCS / "data.md").read_text(encoding="utf-8")
    greeting = re.search(r'^\{"messages": .*\}$', data, flags=re.MULTILINE)
    assert greeting is not None
    other = {"role": "user", "content": "What is 2 + 3?"}
    bad: dict[str, Any] = {
        "bad3": {"messages": [other | {"role": "human"}]},
        "bad4": {"messages": [other | {"content": 3}]},
        "bad5": {"messages": [other | {"role": "assistant"}]},
        "bad6": {"messages": [other]},
        "bad9": {"query": "What is 2 + 3?", "solution": "5"},
        "two": _TURN | {"instruction": "Add the numbers.", "output": "3"},
        "context": {
            "instruction": "Add the numbers.",
            "context": "1 + 2",
            "output": "three",
            "category": "sum",
        },
        "sum": _TURN,
    }
    lines = {f"{name}.jsonl": json.dumps(record) for name, record in bad.items()}
    judged = {
        "output_1": "of the reference",
        "output_2": "of im, so",
        "generator_1": "gpt4_1106_preview",
        "generator_2": "im",
        "annotator": "weighted_alpaca_eval_gpt4_turbo",
    }
    preferences = (1.2, 1.0, 2.0, 1.5, None)
    empty = json.dumps(_TURN | {"completion": ""})
    answer = {"role": "assistant", "content": "5"}
    talks = [
        [other, answer],
        [other, {**answer, "content": ""}],
        [other, other, answer],
        [other, answer, other],
    ]
    return lines | {
        "annotations.json": json.dumps(
            [judged | {"instruction": f"Say {p}.", "preference": p} for p in preferences]
        ),
        "even.jsonl": greeting[0].replace(', "weight": 0.5', ""),
        "chat.jsonl": f'{greeting[0][:-1]}, "id": "greeting"}}\n{json.dumps(_TURN)}\n',
        "bad1.jsonl": '{"prompt": "What is 2 + 3? Say." "completion": "5"}',
        "turns.jsonl": "".join(json.dumps({"messages": talk}) + "\n" for talk in talks),
        "bad2.jsonl": f"{json.dumps(_TURN)}\n{empty}\n",
        "bad8.json": json.dumps([_TURN, _TURN])[:-20],
        "ultrachat/test_sft-00000-of-00001.jsonl": json.dumps(_TURN),
        "ultrachat/train_sft-00000-of-00001.jsonl": json.dumps(_TURN),
        "table.csv": "prompt,completion\nWhat is 2 + 3?,5\n",
    }


def _templates() -> dict[str, str]:
    said = "{{ m.role }}: {{ m.content }}"
    no_system = "{% if m.role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    loop = "{% for i in range(1000) %}{% if range(1000) | list %}{% endif %}{% endfor %}"
    configuration = {
        "chat_template": _EACH.replace("BODY", no_system + said + _ANSWERS),
        "eos_token": "</s>",
        "bos_token": "<s>",
    }
    return {
        "nostop.jinja": _EACH.replace("BODY", said),
        "leaves.jinja": _EACH.replace("BODY", "{{ m.role }}: {% if m.role != 'user' %}{{ m.content }}{% endif %}" + _ANSWERS),
        "upper.jinja": _EACH.replace("BODY", "{{ m.role }}: {{ m.content | upper }}{{ eos_token }}"),
        "endless.jinja": _EACH.replace("BODY", said + _ANSWERS + loop),
        "tok/tokenizer_config.json": json.dumps(configuration),
    }  # fmt: skip


def _programs() -> dict[str, str]:
    sweep = 'from tests.sweeps.small import small_sweep\n\n\ndef get_sweep():\n    sweep = small_sweep()\n    sweep.axes["policy"]["imm"] = {"loss.policy": "imm"}\n    return sweep\n'
    program = next(block for block in quoted("markov.md") if "walks over the word" in block)
    return {
        "double.txt": program,
        "broken.txt": "a -> b\nthe shop my brother\n",
        "my_sweep.py": sweep,
    }


def _write_llama2c(path: Path, vocabulary: int) -> None:
    """A model of zeros, of two layers and one head."""
    embed, mlp, layers, length = 8, 16, 2, 256
    header = (embed, mlp, layers, 1, 1, vocabulary, length)
    floats = (
        vocabulary * embed + layers * (2 * embed + 4 * embed**2 + 3 * embed * mlp) + embed + length * embed
    )
    path.write_bytes(struct.pack("<7i", *header) + bytes(4 * floats))


def _write_sentencepiece(path: Path, entries: int) -> None:
    model = ModelProto()
    model.trainer_spec.model_type = 2
    model.normalizer_spec.remove_extra_whitespaces = False
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3}
    for at, name in enumerate([*kinds, *(f"piece{at}" for at in range(entries - len(kinds)))]):
        model.pieces.add(piece=name, score=-float(at), type=kinds.get(name, 1))
    path.write_bytes(model.SerializeToString())
