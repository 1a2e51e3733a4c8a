"""What each benchmark asks, and the file that its answers make."""

import abc
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from im_jax.data.records.conversation import Message
from im_jax.evaluation.answering.asked import Answers, Asked, Sampling
from im_jax.evaluation.code import human_eval
from im_jax.evaluation.code.human_eval import Problem
from im_jax.evaluation.instructions_followed.scoring import Prompt
from im_jax.evaluation.judged import alpaca_eval, mt_bench
from im_jax.evaluation.judged.alpaca_eval import Output
from im_jax.evaluation.judged.mt_bench import Question

IFEVAL_TOKENS: Final = 1280
"""lm-eval's."""


class Benchmark(abc.ABC):
    """Prompts, perhaps in rounds, and a file of answers."""

    as_lines: bool = True
    """Whether the file is JSON Lines, and no array."""

    @abc.abstractmethod
    def ready(self, answers: Answers) -> list[Asked]:
        """All that can be asked, given some answers: those that are answered too."""

    @abc.abstractmethod
    def records(self, answers: Answers, model: str) -> list[dict[str, Any]]:
        """Of the file, once all is answered."""

    @property
    @abc.abstractmethod
    def total(self) -> int:
        """Number of answers."""


class AlpacaEval(Benchmark):
    """Instructions, each answered once: AlpacaEval's `model_outputs.json`."""

    as_lines = False

    def __init__(self, instructions: Mapping[str, Output], sampling: Sampling) -> None:
        """Args: instructions: of any file of outputs, in order."""
        self._instructions, self._sampling = list(instructions.values()), sampling

    @property
    def total(self) -> int:
        return len(self._instructions)

    def ready(self, answers: Answers) -> list[Asked]:
        return [
            Asked(
                _name("alpaca_eval", each.instruction), (Message("user", each.instruction),), self._sampling
            )
            for each in self._instructions
        ]

    def records(self, answers: Answers, model: str) -> list[dict[str, Any]]:
        return [
            {
                "dataset": each.dataset,
                "instruction": each.instruction,
                "output": answers[_name("alpaca_eval", each.instruction), 0].text,
                "generator": model,
            }
            for each in self._instructions
        ]


class MTBench(Benchmark):
    """Questions of two turns, the second asked after the answer to the first: FastChat's `model_answer`."""

    def __init__(
        self, questions: Mapping[int, Question], sampling: Sampling, temperatures: Mapping[str, float]
    ) -> None:
        """Args: temperatures: by category, over that of the sampling."""
        self._questions, self._sampling, self._temperatures = list(questions.values()), sampling, temperatures

    @property
    def total(self) -> int:
        return sum(len(each.turns) for each in self._questions)

    def ready(self, answers: Answers) -> list[Asked]:
        asked = []
        for each in self._questions:
            sampling = self._sampling
            if each.category in self._temperatures:
                sampling = sampling._replace(temperature=self._temperatures[each.category])
            said: list[Message] = []
            for number, turn in enumerate(each.turns, 1):
                said.append(Message("user", turn))
                name = _turn(each, number)
                asked.append(Asked(name, tuple(said), sampling))
                if (name, 0) not in answers:
                    break
                said.append(Message("assistant", answers[name, 0].text.strip()))
        return asked

    def records(self, answers: Answers, model: str) -> list[dict[str, Any]]:
        records = []
        for each in self._questions:
            names = [_turn(each, number) for number in range(1, len(each.turns) + 1)]
            turns = [answers[name, 0].text.strip() for name in names]
            records.append(
                {
                    "question_id": each.question_id,
                    "answer_id": _digest(model, each.question_id, *turns),
                    "model_id": model,
                    "choices": [{"index": 0, "turns": turns}],
                    "tstamp": time.time(),
                }
            )
        return records


class IFEval(Benchmark):
    """Prompts, each answered once: lines of `prompt` and `response`."""

    def __init__(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self._prompts, self._sampling = prompts, sampling

    @property
    def total(self) -> int:
        return len(self._prompts)

    def ready(self, answers: Answers) -> list[Asked]:
        return [
            Asked(_name(f"ifeval/{p.key}", p.prompt), (Message("user", p.prompt),), self._sampling)
            for p in self._prompts
        ]

    def records(self, answers: Answers, model: str) -> list[dict[str, Any]]:
        return [
            {
                "key": p.key,
                "prompt": p.prompt,
                "response": answers[_name(f"ifeval/{p.key}", p.prompt), 0].text,
            }
            for p in self._prompts
        ]


class HumanEval(Benchmark):
    """Functions that a model goes on with, often, at one temperature or more: samples of `human-eval`."""

    def __init__(
        self, problems: Mapping[str, Problem], sampling: Sampling, temperatures: Sequence[float]
    ) -> None:
        self._problems, self._temperatures = list(problems.values()), temperatures
        self._sampling = sampling._replace(stop=human_eval.STOPS)

    @property
    def total(self) -> int:
        return len(self._problems) * len(self._temperatures) * self._sampling.samples

    def ready(self, answers: Answers) -> list[Asked]:
        return [
            Asked(
                _name(f"{each.task_id} t{value:g}", each.prompt),
                each.prompt,
                self._sampling._replace(temperature=value),
            )
            for value in self._temperatures
            for each in self._problems
        ]

    def records(self, answers: Answers, model: str) -> list[dict[str, Any]]:
        return [
            {
                "task_id": each.task_id,
                "completion": answers[_name(f"{each.task_id} t{value:g}", each.prompt), sample].text,
                "temperature": value,
            }
            for value in self._temperatures
            for each in self._problems
            for sample in range(self._sampling.samples)
        ]


def defaults(benchmark: str) -> Sampling:
    """How a benchmark's publishers ask, but for temperatures that depend on the prompt."""
    if benchmark == "human_eval":
        return Sampling(human_eval.MAX_TOKENS, top_p=human_eval.TOP_P, samples=human_eval.SAMPLES)
    tokens = {"alpaca_eval": alpaca_eval.MAX_TOKENS, "mt_bench": mt_bench.MAX_TOKENS, "ifeval": IFEVAL_TOKENS}
    return Sampling(tokens[benchmark])


def _turn(question: Question, number: int) -> str:
    return _name(f"mt_bench/{question.question_id}/{number}", *question.turns[:number])


def _name(name: str, *texts: str) -> str:
    """An id that is another where the texts are."""
    return f"{name} {_digest(*texts)}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
