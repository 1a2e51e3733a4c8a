"""Training and greedy answers of ours; `_with_data` makes the data in the same time.

A training step is what `im_jax.train` does for each: a batch, if it is made then, put on the device, and the
step. Evaluation is what `im_jax.studies.rewrites.evaluation` does for each batch: examples as strings, their
prompts, the decoded answers as strings and their scores; without the data, only decoding.
"""

import itertools
from typing import Any, Final

import jax
import numpy as np

from im_jax import mesh as meshes
from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, repeated
from im_jax.bench.contestants import jax_backend, rewrites_data, small_gpt2
from im_jax.bench.contestants.im_jax_step import compile_step, data_parallel_mesh
from im_jax.models import decoder
from im_jax.models.decoding import greedy
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from im_jax.studies.rewrites import evaluation
from im_jax.studies.rewrites.scoring import score

COMPARED: Final = 3
"""First steps whose losses are compared: rounding grows from step to step."""


def make(case: Case, variant: str) -> Contestant:
    """The work of the case."""
    with_data = variant.endswith("_with_data")
    return (_training if case.work == "train" else _answers)(case, with_data)


def _training(case: Case, with_data: bool) -> Contestant:
    prepared = rewrites_data.first_batches(case)

    def load(shardings: decoder.Params) -> decoder.Params:
        return jax.tree.map(jax.device_put, small_gpt2.params(case), shardings)

    compiled = compile_step(small_gpt2.model_config(case), small_gpt2.optimizer_config(), prepared[0], load)
    state, losses = compiled.state, []
    with jax.set_mesh(compiled.mesh):
        placed = itertools.cycle([meshes.put_batch(batch, compiled.mesh) for batch in prepared])
    made = rewrites_data.batches(case)

    def step() -> None:
        nonlocal state
        batch = meshes.put_batch(next(made), compiled.mesh) if with_data else next(placed)
        state, metrics = compiled.step(state, batch)
        losses.append(metrics.loss)

    return Contestant(
        repeated(step, rewrites_data.times_of(case), lambda: jax.block_until_ready((state, losses))),
        lambda: {"losses": [float(loss) for loss in losses[:COMPARED]]},
        jax_backend.device(),
        jax_backend.memory(compiled.compiled),
    )


def _answers(case: Case, with_data: bool) -> Contestant:
    config, new = small_gpt2.model_config(case), rewrites_data.answer_tokens(case)
    mesh, prompts, rules = data_parallel_mesh(), rewrites_data.Prompts(case), ShardingRules()
    rows = meshes.batch_sharding(mesh)
    params = jax.tree.map(
        jax.device_put, small_gpt2.params(case), decoder.param_shardings(config, mesh, rules)
    )
    prepared = [prompts.encode(prompts.examples(i)) for i in range(rewrites_data.PREPARED)]
    numbers = itertools.count()
    model = Model(params, config, rewrites_data.TOKENIZER, prompts.template, mesh, rules)
    answers: list[np.ndarray] = []

    def decode(tokens: np.ndarray) -> np.ndarray:
        lengths = np.full(len(tokens), tokens.shape[1], np.int32)
        with jax.set_mesh(mesh):
            asked, ends = jax.device_put((tokens, lengths), rows)
            return np.asarray(greedy(params, config, asked, ends, new, (), rules).tokens)[:, -new:]

    def answer() -> None:
        number = next(numbers)
        if not with_data:
            answers.append(decode(prepared[number % len(prepared)]))
            return
        arrays = prompts.examples(number)
        examples = evaluation.examples_of(prompts.task, arrays)
        answers.append(decode(prompts.encode(arrays)))
        texts = [evaluation.text_of(model.read(row.tolist())) for row in answers[-1]]
        score(examples, texts)

    def values() -> dict[str, Any]:
        return {"answers": np.concatenate(answers[: rewrites_data.PREPARED]).ravel().tolist()}

    call = repeated(answer, rewrites_data.times_of(case), lambda: None)
    return Contestant(call, values, jax_backend.device(), {})
