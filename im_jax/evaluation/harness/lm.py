"""Our model as lm-evaluation-harness asks one: an `LM` of token-level likelihoods and generation.

It cuts, marks and splits as the harness's own `hf` model does, so that both give equal numbers: a context
is cut on the left, an empty one becomes the prefix token, and a text that begins with the BOS gets no
second one.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from im_jax.data.records.conversation import Message
from im_jax.errors import ConfigError
from im_jax.evaluation.harness import library
from im_jax.evaluation.likelihood.rolling import windows
from im_jax.evaluation.likelihood.texts import Pair
from im_jax.models.loaded import Model

ScorePairs = Callable[[Sequence[Pair]], Sequence[tuple[float, bool]]]
"""Log-probability of each continuation, in nats, and whether it is the greedy one."""

MAX_GEN_TOKS: Final = 256
"""What the harness lets a task generate that says nothing."""
_SAMPLING: Final = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


class Asked(NamedTuple):
    """A text to be generated."""

    tokens: list[int]
    max_tokens: int
    stop: list[str]
    sampling: Mapping[str, float]
    """Of `_SAMPLING`, what is not the default; empty: greedy."""
    number: int
    """Of the same request repeated: each is another sample."""
    continues: bool = False
    """Whether the text goes on where the prompt's ends, with the space between them."""


Generate = Callable[[Sequence[Asked]], Sequence[str]]
"""The text that is generated for each."""


def add_bos(model: Model, choice: str, *, chat: bool) -> bool:
    """Whether texts get a BOS: `auto` is the tokenizer's habit, as it is today of the harness's `hf` model,
    and in chat also the template's, as in training.

    Raises:
        ConfigError: one is wanted and the tokenizer has none.
    """
    if choice == "auto":
        wanted = model.template.adds_bos if chat and model.template is not None else True
        return wanted and model.tokenizer.adds_bos and model.tokenizer.bos_id is not None
    if choice == "yes" and model.tokenizer.bos_id is None:
        raise ConfigError("--add_bos=yes: this tokenizer has no BOS token; set --add_bos=no")
    return choice == "yes"


def make_lm(model: Model, score: ScorePairs, generate: Generate, *, bos: bool) -> Any:
    """An `lm_eval.api.model.TemplateLM`. Raises ConfigError where the harness is not installed.

    Args:
        model: for its tokenizer, template and sizes; it is computed with by the functions.
        score: gives likelihoods.
        generate: gives texts.
        bos: whether texts get a BOS token.
    """
    return _lm_class()(model, score, generate, bos)


@functools.cache
def _lm_class() -> Any:
    """With its base, which is there only where the harness is installed."""

    class ImJax(_Asking, library.module("api.model").TemplateLM):  # type: ignore[misc]
        pass

    return ImJax


def _model_utils() -> Any:
    return library.module("models.utils")


class _Asking:
    """What the harness asks of a model, before `TemplateLM`, which says what of it is asked when.

    One process asks: world_size stays 1, on which the draws of few-shot examples depend.
    """

    backend = "causal"

    def __init__(self, model: Model, score: ScorePairs, generate: Generate, bos: bool) -> None:
        super().__init__()  # of the harness's class
        self.model, self.bos = model, bos
        self.cut = 0
        """How many contexts were too long and lost their beginnings."""
        self._score, self._generate = score, generate

    @property
    def eot_token_id(self) -> int:
        eos = self.model.tokenizer.eos_id
        return self.prefix_token_id if eos is None else eos

    @property
    def prefix_token_id(self) -> int:
        tokenizer = self.model.tokenizer
        prefix = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
        if prefix is None:
            raise ConfigError("this tokenizer has no BOS and no EOS, one of which stands for no context")
        return prefix

    @property
    def max_length(self) -> int:
        return self.model.config.max_positions

    @property
    def max_gen_toks(self) -> int:
        return MAX_GEN_TOKS

    @property
    def tokenizer_name(self) -> str:
        return "" if self.model.template is None else self.model.template.name

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        tokenizer = self.model.tokenizer
        ids = tokenizer.encode(string).ids.tolist()
        wanted = self.bos if add_special_tokens is None else add_special_tokens and tokenizer.adds_bos
        if wanted and add_special_tokens is None and tokenizer.bos_text:
            wanted = not string.startswith(tokenizer.bos_text)
        return [tokenizer.bos_id, *ids] if wanted and tokenizer.bos_id is not None else ids

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)  # type: ignore[misc]
        return found

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        pairs = [self._fitting(context, continuation) for _, context, continuation in requests]
        return [(float(logprob), bool(greedy)) for logprob, greedy in self._score(pairs)]

    def _fitting(self, context: list[int], continuation: list[int]) -> Pair:
        """A pair whose last token needs no place, with as much of its context as there is room for."""
        room = self.max_length + 1 - len(continuation)
        if room < 1:
            raise ConfigError(
                f"a continuation of {len(continuation)} tokens exceeds model.max_positions="
                f"{self.max_length}; this model cannot be asked this task"
            )
        self.cut += len(context) > room
        return context[-room:], continuation

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> list[float]:
        del disable_tqdm
        texts = [self.tok_encode(request.args[0]) for request in requests]
        pairs = [list(windows(text, self.prefix_token_id, self.max_length)) for text in texts]
        scores = iter(self._score(list(itertools.chain(*pairs))))
        return [sum(float(next(scores)[0]) for _ in some) for some in pairs]

    def generate_until(self, requests: Any, disable_tqdm: bool = True) -> list[str]:
        del disable_tqdm
        seen: dict[tuple[str, str], int] = {}
        asked = []
        for request in requests:
            text, arguments = request.args
            key = text, repr(arguments)
            seen[key] = seen.get(key, -1) + 1
            asked.append(self._asked(text, arguments, seen[key], request.task_name))
        answers = self._generate(asked)
        return [
            _model_utils().postprocess_generated_text(answer, each.stop, None)
            for each, answer in zip(asked, answers, strict=True)
        ]

    def _asked(self, text: str, arguments: Mapping[str, Any], number: int, task: str | None) -> Asked:
        known = dict(_model_utils().normalize_gen_kwargs(dict(arguments), self.max_gen_toks))
        stop = _model_utils().handle_stop_sequences(list(known.pop("until")), self.model.tokenizer.eos_text)
        max_tokens, sampled = int(known.pop("max_gen_toks")), bool(known.pop("do_sample"))
        sampling = {name: known.pop(name) for name in _SAMPLING if name in known}
        if known:
            raise ConfigError(f"{task} is generated with {', '.join(known)}, which is not known here")
        room, tokens = self.max_length - max_tokens, self.tok_encode(text)
        self.cut += len(tokens) > room
        return Asked(tokens[-room:], max_tokens, [s for s in stop if s], sampling if sampled else {}, number)

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        template = self.model.template
        if template is None:
            raise ConfigError("--apply_chat_template: this model has no template; leave the flag out")
        messages = [Message(turn["role"], turn["content"]) for turn in chat_history]
        if add_generation_prompt:
            return template.prompt(messages)
        # The last message is the beginning of the answer, behind the header.
        return template.prompt(messages[:-1]) + messages[-1].content

    def chat_template(self, chat_template: bool | str = False) -> str:
        return self.tokenizer_name if chat_template else ""
