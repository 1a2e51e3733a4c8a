"""AlpacaEval: outputs of a model beside those of a reference, judged by another model.

Files are AlpacaEval's: outputs are records of `instruction`, `output`, `generator` and `dataset`, annotations
those of `win_rates`. Two ways of judging are AlpacaEval's too: `weighted` (2.0) asks for one token and weighs
the two names by their probabilities, `ranked` (1.0) asks for a ranked list.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged.asking import Answers, Query
from im_jax.evaluation.judged.preferences import DRAW, is_swapped, ranked, unswapped, weighted
from im_jax.evaluation.judged.win_rates import OTHER_ORDER
from im_jax.evaluation.records import read_records

MAX_TOKENS: Final = 2048
"""For an answer."""
KINDS: Final = ("weighted", "ranked")
_SAMPLING: Final = MappingProxyType(
    {
        "weighted": {"max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 5},
        "ranked": {"max_tokens": 100, "temperature": 0.0},
    }
)
_OWN: Final = MappingProxyType(
    {
        "weighted": """<|im_start|>system
You compare two outputs for one instruction, and say which of them people would prefer.
<|im_end|>
<|im_start|>user
The instruction:

{instruction}

The output named m:

{output_1}

The output named M:

{output_2}

Which of the two would most people prefer? Answer with its name alone: m or M.
<|im_end|>""",
        "ranked": """<|im_start|>system
You compare the outputs of two models for one instruction, and rank them as people would.
<|im_end|>
<|im_start|>user
The instruction:

{instruction}

The output of model_1:

{output_1}

The output of model_2:

{output_2}

Answer with a Python list alone, the better model first, as in
[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]
<|im_end|>""",
    }
)
_MESSAGE: Final = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
_PLACES: Final = re.compile(r"\{(instruction|output_1|output_2)\}")
_OTHER: Final = " (other order)"


class Output(NamedTuple):
    """What a model said."""

    instruction: str
    output: str
    generator: str
    """Name of the model."""
    dataset: str
    """The part of the set that the instruction is of."""


@dataclass(frozen=True)
class Judge:
    """Who judges, and how it is asked.

    Attributes:
        model: as the server calls it.
        kind: one of `KINDS`.
        prompt: text of a prompt file of AlpacaEval; empty: the project's own words.
        changed: fields of the request that are other than AlpacaEval's; None leaves one out.
    """

    model: str
    kind: str = "weighted"
    prompt: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := {"instruction", "output_1", "output_2"} - set(_PLACES.findall(self.template)):
            raise ConfigError(
                f"the prompt of the judge has no {{{min(missing)}}}; give a file of AlpacaEval's form"
            )

    @property
    def template(self) -> str:
        """The prompt, with places for instruction and outputs."""
        return self.prompt or _OWN[self.kind]

    @property
    def name(self) -> str:
        """For the annotations: who, how, and with which words."""
        digest = hashlib.sha256(self.template.encode()).hexdigest()[:8]
        return f"{self.kind} {self.model} prompt {digest}"

    def body(self, instruction: str, shown_first: str, shown_second: str) -> dict[str, Any]:
        """The request for one comparison."""
        filled = {"instruction": instruction, "output_1": shown_first, "output_2": shown_second}
        messages = _MESSAGE.findall(self.template) or [("user", self.template)]
        chat = [
            {"role": role, "content": _PLACES.sub(lambda place: filled[place[1]], text.strip())}
            for role, text in messages
        ]
        body = {"model": self.model, "messages": chat, **_SAMPLING[self.kind], **self.changed}
        return {name: value for name, value in body.items() if value is not None}

    def preference(self, choice: Mapping[str, Any]) -> float | None:
        """Between what was shown first (1) and second (2); None: it said neither."""
        return weighted(choice) if self.kind == "weighted" else ranked(choice["message"]["content"])


def read_outputs(path: str | os.PathLike[str], flag: str) -> dict[str, Output]:
    """Outputs by instruction, in order.

    Raises:
        UserError: the file is not one of outputs, or has an instruction twice.
    """
    outputs: dict[str, Output] = {}
    for item in read_records(path, {"instruction": str, "output": str}, flag):
        value = item.value
        if value["instruction"] in outputs:
            raise DataError(f"{item.origin}: has an instruction that is there before; keep one of them")
        name = str(value.get("generator") or pathlib.Path(path).stem)
        outputs[value["instruction"]] = Output(
            value["instruction"], value["output"], name, str(value.get("dataset", ""))
        )
    return outputs


def pairs(outputs: Mapping[str, Output], references: Mapping[str, Output]) -> list[tuple[Output, Output]]:
    """Reference and output of each instruction that the model has answered, in the reference's order.

    Raises:
        DataError: none of them is of the reference's, or some are not.
    """
    if strange := [text for text in outputs if text not in references]:
        raise DataError(
            f"{len(strange)} of {len(outputs)} outputs are of instructions that the reference lacks, such as "
            f"{strange[0][:40]!r}; give the reference file that was answered"
        )
    return [(reference, outputs[text]) for text, reference in references.items() if text in outputs]


def queries(
    compared: Sequence[tuple[Output, Output]], judge: Judge, *, both_orders: bool = False
) -> list[Query]:
    """What to ask; equal outputs are a draw that nobody is asked about."""
    asked = []
    for number, (reference, output) in enumerate(compared):
        texts = (reference.output, output.output)
        if texts[0] == texts[1]:
            continue
        swapped = is_swapped(reference.instruction)
        for other in (False, True) if both_orders else (False,):
            shown = texts[::-1] if swapped != other else texts
            name = _name(number, output) + _OTHER * other
            asked.append(Query(name, judge.body(reference.instruction, *shown)))
    return asked


def annotations(
    compared: Sequence[tuple[Output, Output]], judge: Judge, answers: Answers, *, both_orders: bool = False
) -> list[dict[str, Any]]:
    """The records of an annotation file, in order.

    A comparison without a verdict has the preference None, and why is put into `answers.failures`.
    """
    records = []
    for number, (reference, output) in enumerate(compared):
        name, swapped = _name(number, output), is_swapped(reference.instruction)
        record: dict[str, Any] = {
            "instruction": reference.instruction,
            "output_1": reference.output,
            "generator_1": reference.generator,
            "dataset": reference.dataset,
            "output_2": output.output,
            "generator_2": output.generator,
            "annotator": judge.name,
        }
        if reference.output == output.output:
            record |= {"preference": DRAW, "raw_completion": None}
        else:
            record["preference"] = _verdict(name, judge, answers, swapped)
            completion = answers.completions.get(name)
            record["raw_completion"] = completion and completion.choice
            if both_orders:
                record[OTHER_ORDER] = _verdict(name + _OTHER, judge, answers, not swapped)
        records.append(record)
    return records


def _verdict(name: str, judge: Judge, answers: Answers, swapped: bool) -> float | None:
    if name not in answers.completions:
        return None
    choice = answers.completions[name].choice
    preference = judge.preference(choice)
    if preference is None:
        answers.failures[name] = f"no verdict: {choice['message']['content'][:60]!r}"
        return None
    return unswapped(preference, swapped)


def _name(number: int, output: Output) -> str:
    return f"{number + 1} {output.instruction[:40]!r}"
