"""The engine: requests go into slots as these become free, and answers come out as they finish."""

import dataclasses
import functools
import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from im_jax.errors import DataError
from im_jax.generation import programs
from im_jax.generation.ends import Ending, Verdict, ends_of
from im_jax.generation.programs import Prompts, Shape, State, Steps
from im_jax.generation.requests import Completion, Request
from im_jax.generation.sampling import Knobs, knobs_row
from im_jax.models.attention.filled import BLOCK
from im_jax.models.decoder import decoder_graph
from im_jax.models.loaded import Model
from im_jax.models.sharding import everywhere
from im_jax.models.sizes import head_dim
from im_jax.text import counted

SLOTS: Final = 64
"""Answers that are decoded together, unless asked otherwise."""
_SHORTEST: Final = 32
"""Tokens of the smallest prompts' program."""
_TOKENS_READ: Final = 1024
"""Tokens of prompts that are read at once, where several fit."""
_ENDS: Final = 16
"""Numbers of ends are rounded up to a multiple, so that other ends do not compile again."""


@dataclasses.dataclass
class Counts:
    """What an engine has done so far."""

    answers: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    by_length: int = 0
    """Answers that `max_tokens` or the model's positions ended."""
    steps: int = 0
    """Of the decoding program, each for all slots."""
    padding: int = 0
    """Tokens read beside those of prompts."""


class _Job(NamedTuple):
    request: Request
    sample: int
    limit: int


@dataclasses.dataclass
class _Slot:
    """An answer that is being decoded."""

    job: _Job
    ending: Ending
    tokens: list[int] = dataclasses.field(default_factory=list)
    logprobs: list[float] = dataclasses.field(default_factory=list)
    top: list[dict[int, float]] = dataclasses.field(default_factory=list)


class Generator:
    """Answers requests with a model.

    With the same number of slots, an answer depends on the model, its request and the seed alone: not on
    what else is asked, in which order, nor on what has been answered before.
    """

    def __init__(self, model: Model, *, slots: int | None = None) -> None:
        """Args: the model, and answers decoded together (None: 64), rounded up to what devices share.

        Raises:
            DataError: the model's generation_config.json cannot be read.
        """
        self._model = model
        self.slots = model.batch_size(SLOTS if slots is None else slots)
        self._ends = ends_of(model)
        self._graph = decoder_graph(model.config, model.rules)
        self.counts = Counts()

    def check(self, request: Request) -> None:
        """Raises DataError if a request cannot be answered."""
        size, most = len(request.tokens), self._model.config.max_positions
        if not size:
            raise DataError(f"{request.id}: the prompt is empty; set some text")
        if size >= most:
            raise DataError(
                f"{request.id}: the prompt has {counted(size, 'token')}, which leaves no room for an answer "
                f"in the model's {most} positions; shorten it"
            )
        ends = self._ending(request, size + 1).single
        for token in (*ends, *map(int, request.tokens)):
            if not 0 <= token < self._vocabulary:
                raise DataError(f"{request.id}: token {token} is not of the model's {self._vocabulary}")

    def shape(self, requests: Sequence[Request]) -> Shape:
        """What arrays must have room for to answer these."""
        sizes = [self._limit(each) + len(each.tokens) for each in requests]
        columns = max([BLOCK, *sizes, *(_bucket(len(each.tokens)) for each in requests)])
        ends = max([1, *(len(self._ending(each, 1).single) for each in requests)])
        logprobs = max([0, *(each.params.logprobs or 0 for each in requests)])
        return Shape(self.slots, _multiple(columns, BLOCK), _multiple(ends, _ENDS), logprobs)

    def cache_bytes(self, shape: Shape) -> int:
        """Memory of keys and values, over all devices."""
        config = self._model.config
        size = np.dtype(jax.numpy.dtype(config.compute_dtype)).itemsize
        heads = config.num_kv_heads * head_dim(config)
        return 2 * config.num_layers * shape.slots * shape.columns * heads * size

    def __call__(
        self,
        requests: Sequence[Request],
        *,
        shape: Shape | None = None,
        without: Collection[tuple[str, int]] = (),
    ) -> Iterator[Completion]:
        """The answers, each as soon as it is whole. Call it on all processes, with the same requests.

        Args:
            requests: what is asked; ids are different.
            shape: room, if more than these need.
            without: answers that are not wanted, by id and number.

        Raises:
            DataError: a request cannot be answered.
        """
        for request in requests:
            self.check(request)
        shape = self.shape(requests) if shape is None else shape
        jobs = [
            _Job(request, sample, self._limit(request))
            for request in requests
            for sample in range(request.params.n)
            if (request.id, sample) not in without
        ]
        # Slots cost what the longest of them does, so that equals go together; the longest show at once
        # whether memory suffices.
        waiting = deque(sorted(jobs, key=lambda job: -len(job.request.tokens)))
        taken: dict[int, _Slot] = {}
        stopped = np.zeros(shape.slots, bool)
        if not waiting:
            return
        state = self._run(functools.partial(programs.begin, shape=shape))
        while waiting or taken:
            free = deque(slot for slot in range(shape.slots) if slot not in taken)
            while waiting and free:
                state = self._fill(state, waiting, free, taken, shape)
                stopped[list(taken)] = False
            enough = self._refill(shape) if waiting else shape.slots
            state, steps = self._run(
                programs.advance,
                state,
                stopped.copy(),
                np.int32(enough),
                vocabulary=self._vocabulary,
                logprobs=shape.logprobs,
            )
            done = Steps(*map(everywhere, steps))
            self.counts.steps += int(done.counts.max(initial=0))
            for slot in sorted(taken):
                completion = self._take(taken[slot], done, slot)
                if completion is not None:
                    del taken[slot]
                    stopped[slot] = True
                    yield completion

    @staticmethod
    def _refill(shape: Shape) -> int:
        """How many slots are to be free before prompts are read into them."""
        return max(1, shape.slots // 8)

    def _fill(
        self, state: State, waiting: deque[_Job], free: deque[int], taken: dict[int, _Slot], shape: Shape
    ) -> State:
        """Some prompts of one length, as far as there are any, into free slots."""
        width = _bucket(len(waiting[0].request.tokens))
        # As many for every prompt of a length: with another number of rows, sums may be rounded otherwise.
        rows = self._model.batch_size(min(max(_TOKENS_READ // width, 1), self._refill(shape)))
        tokens = np.zeros((rows, width), np.int32)
        lengths, slots = np.ones(rows, np.int32), np.full(rows, shape.slots, np.int32)
        knobs: list[dict[str, Any]] = []
        while waiting and free and len(knobs) < rows and _bucket(len(waiting[0].request.tokens)) == width:
            job, slot, row = waiting.popleft(), free.popleft(), len(knobs)
            request = job.request
            tokens[row, : len(request.tokens)] = request.tokens
            lengths[row], slots[row] = len(request.tokens), slot
            taken[slot] = _Slot(job, self._ending(request, job.limit))
            knobs.append(self._knobs(job, taken[slot].ending.single, shape))
            self.counts.prompt_tokens += len(request.tokens)
        self.counts.padding += rows * width - int(lengths[: len(knobs)].sum())
        knobs += knobs[:1] * (rows - len(knobs))  # rows for no slot
        columns = Knobs(**{name: np.stack([row[name] for row in knobs]) for name in Knobs._fields})
        filled: State = self._run(programs.fill, state, Prompts(tokens, lengths, slots, columns))
        return filled

    def _take(self, slot: _Slot, done: Steps, number: int) -> Completion | None:
        """A slot's new tokens; its answer, if that is whole."""
        count, known = int(done.counts[number]), len(slot.tokens)
        slot.tokens += done.tokens[number, :count].tolist()
        slot.logprobs += done.logprobs[number, :count].tolist()
        wanted = slot.job.request.params.logprobs
        if wanted is not None:
            for at in range(count):
                chosen = {slot.tokens[known + at]: slot.logprobs[known + at]}
                ids, values = (x[number, at, :wanted].tolist() for x in (done.top, done.top_logprobs))
                slot.top.append(chosen | dict(zip(ids, values, strict=True)))
        verdict = slot.ending.find(slot.tokens, known)
        return None if verdict is None else self._completion(slot, verdict)

    def _completion(self, slot: _Slot, verdict: Verdict) -> Completion:
        self.counts.answers += 1
        self.counts.answer_tokens += verdict.tokens
        self.counts.by_length += verdict.finish_reason == "length"
        request = slot.job.request
        return Completion(
            id=request.id,
            sample=slot.job.sample,
            text=verdict.text,
            token_ids=slot.tokens[: verdict.tokens],
            finish_reason=verdict.finish_reason,
            stop_reason=verdict.stop_reason,
            prompt_tokens=len(request.tokens),
            cumulative_logprob=float(np.sum(slot.logprobs[: verdict.tokens])),
            logprobs=None if request.params.logprobs is None else slot.top[: verdict.tokens],
        )

    def _knobs(self, job: _Job, ends: list[int], shape: Shape) -> dict[str, Any]:
        name = int.from_bytes(hashlib.sha256(job.request.id.encode()).digest()[:4])
        params = job.request.params
        return knobs_row(params, limit=job.limit, ends=ends, width=shape.ends, name=name, sample=job.sample)

    def _ending(self, request: Request, limit: int) -> Ending:
        return Ending(request, self._ends, limit, self._decoder(request))

    def _decoder(self, request: Request) -> Callable[[Sequence[int]], str]:
        decode = functools.partial(
            self._model.tokenizer.decode, skip_special=request.params.skip_special_tokens
        )
        if not request.continues:
            return decode
        prompt = request.tokens.tolist()
        begun = decode(prompt)

        def continuation(tokens: Sequence[int]) -> str:
            whole = decode([*prompt, *tokens])
            return whole.removeprefix(begun) if whole.startswith(begun) else decode(tokens)

        return continuation

    def _limit(self, request: Request) -> int:
        """Tokens of an answer, at most."""
        return min(request.params.max_tokens, self._model.config.max_positions - len(request.tokens))

    @property
    def _vocabulary(self) -> int:
        rows = self._model.config.vocab_size
        assert isinstance(rows, int)
        return min(rows, self._model.tokenizer.vocab_size)

    def _run(self, program: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with jax.set_mesh(self._model.mesh):
            return program(self._graph, self._model.params, *arguments, **options)


def _bucket(size: int) -> int:
    """The power of two that holds a prompt."""
    return max(_SHORTEST, 1 << (size - 1).bit_length())


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of
