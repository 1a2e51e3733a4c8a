"""Accuracy on whole programs: of answers that are right, wrong in known ways, and a model's own."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax import validation
from im_jax.config import Config, DataConfig, ModelConfig, RewritesConfig
from im_jax.console import Console
from im_jax.data.encoding import encode_prompt
from im_jax.data.records.conversation import Message
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import ConfigError
from im_jax.mesh import make_mesh
from im_jax.models import decoder, decoding
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from im_jax.studies.rewrites import evaluation, experiments
from im_jax.studies.rewrites.examples import Examples, RewriteTask, make_tasks
from im_jax.studies.rewrites.markov import machine, program_scores
from im_jax.studies.rewrites.markov.iteration import Query, Result, run_all
from im_jax.studies.rewrites.markov.machine import Halt
from im_jax.studies.rewrites.markov.program import Program, Rule
from im_jax.studies.rewrites.markov.programs import BUCKETS, Run, draw_runs
from im_jax.training import start
from tests.studies.rewrites.markov.test_programs import small, task_of

SORT = Program([Rule("ba", "ab"), Rule("cb", "bc")])
KINDS = pytest.mark.parametrize("kind", ["random", "sort"])
ADDS_UP = ("accuracy", "wrong_text", "halt_limit", "halt_length", "halt_letters")


def true_run(program: Program, text: str) -> Run:
    return Run(program, text, machine.run(program, text, trace=True))


def true_answers(queries: Sequence[Query]) -> list[str]:
    return [text.replace(left, right, 1) for left, right, text in queries]


def strings(task: RewriteTask, answer: Callable[[Query], str]) -> program_scores.Answer:
    """What answers queries as what answers examples."""

    def to_examples(examples: Examples) -> list[str]:
        columns = (
            [task.text(row) for row in side] for side in (examples.left, examples.right, examples.input)
        )
        return [answer(Query(*sides)) for sides in zip(*columns, strict=True)]

    return to_examples


def scores(config: RewritesConfig, answer: Callable[[Query], str]) -> dict[str, float]:
    task = task_of(config)
    return program_scores.evaluate(config, task, strings(task, answer))


@KINDS
def test_true_answers_are_right_whatever_the_number_of_steps(kind: str) -> None:
    row = scores(small(programs=kind), lambda query: query.text.replace(query.left, query.right, 1))
    shares = {name.removeprefix(f"programs/{kind}/"): value for name, value in row.items()}
    assert shares.pop("runs") == 80
    assert shares.pop("copying") == 10 / 80
    assert (shares.pop("seen_rules") > 0) == (kind == "sort")
    wrong = {name: shares.pop(name) for name in ADDS_UP[1:]}
    assert set(wrong.values()) == {0}
    singles = {"step_accuracy", "step_has_op", "step_no_op"}
    groups = {f"{prefix}{name}" for prefix in ("", "expected_") for name in BUCKETS}
    assert shares == dict.fromkeys({"accuracy", "expected"} | singles | groups, 1)


@KINDS
def test_copying_is_right_on_inputs_that_no_rule_changes(kind: str) -> None:
    row = scores(small(programs=kind), lambda query: query.text)
    of = {name.removeprefix(f"programs/{kind}/"): value for name, value in row.items()}
    assert of["accuracy"] == of["copying"] == 10 / 80
    assert [of[name] for name in BUCKETS] == [1] + [0] * 7
    assert of["wrong_text"] == 70 / 80
    assert (of["step_has_op"], of["step_no_op"]) == (0, 1)


@KINDS
@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda query: query.text + "a", "halt_length"),
        (lambda query: query.text[:-1] + "…", "halt_letters"),
        # Every rule moves the letters on: the text changes for ever, unless all are the same.
        (lambda query: query.text[1:] + ("a" if query.text[0] != "a" else "b"), "halt_limit"),
    ],
    ids=["longer", "not ended", "endless"],
)
def test_runs_that_fail_are_counted_by_how(kind: str, answer: Callable[[Query], str], failure: str) -> None:
    row = scores(small(programs=kind), answer)
    assert row[f"programs/{kind}/{failure}"] == 1
    assert sum(row[f"programs/{kind}/{name}"] for name in ADDS_UP) == 1
    assert row[f"programs/{kind}/step_accuracy"] < 0.2


def test_no_programs_are_no_scores() -> None:
    assert scores(small(programs=""), lambda query: query.text) == {}


def test_a_run_rests_on_the_rules_up_to_the_first_that_applies() -> None:
    run = true_run(SORT, "cba")
    # cba: the first rule applies; cab: none does
    assert program_scores.needed(run) == [
        Query("ba", "ab", "cba"),
        Query("ba", "ab", "cab"),
        Query("cb", "bc", "cab"),
    ]
    asked: set[Query] = set()
    wrong = {Query("cb", "bc", "cba")}  # behind the first that applies: of no effect

    def apply(queries: Sequence[Query]) -> list[str]:
        asked.update(queries)
        return ["zzz" if query in wrong else query.text.replace(*query[:2], 1) for query in queries]

    assert run_all([SORT], ["cba"], apply, step_limit=5) == [Result("cab", 1, Halt.BLOCKED)]
    assert {*program_scores.needed(run)} < asked


@KINDS
def test_each_needed_answer_is_needed(kind: str) -> None:
    """Any one of them wrong, and a run is not the true one any more, though it may end alike."""
    for run in draw_runs(kind, config := small(programs=kind, num_programs=24), task_of(config)):
        for wrong in {*program_scores.needed(run)}:

            def apply(queries: Sequence[Query], wrong: Query = wrong) -> list[str]:
                answers = true_answers(queries)
                return ["" if query == wrong else a for query, a in zip(queries, answers, strict=True)]

            (result,) = run_all(
                [run.program],
                [run.text],
                apply,
                step_limit=99,
                failure=lambda text: None if text else Halt.LIMIT,
            )
            assert result.text == ""


def test_what_independent_errors_would_give_is_worked_out_by_hand() -> None:
    runs = [true_run(SORT, text) for text in ("aac", "cba", "bba")]
    assert [run.outcome.steps for run in runs] == [0, 1, 2]
    assert [len(program_scores.needed(run)) for run in runs] == [2, 3, 4]
    wrong = Query("ba", "ab", "bba")

    def apply(queries: Sequence[Query]) -> list[str]:
        return ["bba" if query == wrong else query.text.replace(*query[:2], 1) for query in queries]

    results = run_all([SORT] * 3, [run.text for run in runs], apply, step_limit=5)
    row = program_scores.score(runs, results, apply)
    assert row["accuracy"] == pytest.approx(2 / 3) and row["wrong_text"] == pytest.approx(1 / 3)
    assert [row[f"steps_{n}"] for n in range(3)] == [1, 1, 0]
    assert row["step_accuracy"] == pytest.approx(8 / 9)
    assert row["step_has_op"] == pytest.approx(2 / 3) and row["step_no_op"] == 1
    by_steps = [(8 / 9) ** 2, (8 / 9) ** 3, (8 / 9) ** 4]
    assert [row[f"expected_steps_{n}"] for n in range(3)] == pytest.approx(by_steps)
    assert row["expected"] == pytest.approx(sum(by_steps) / 3)
    assert "steps_3" not in row and "expected_steps_3" not in row


def test_queries_are_asked_in_whole_batches() -> None:
    task, sizes = task_of(small()), []

    def answer(examples: Examples) -> list[str]:
        sizes.append(len(examples.rule))
        return strings(task, lambda query: query.text.replace(query.left, query.right, 1))(examples)

    apply = program_scores.asking(task, answer, 8)
    for count in (1, 7, 8, 9, 16):
        queries = [Query("ab", "cd", "abcab" + "abcdefgh"[n % 8]) for n in range(count)]
        assert list(apply(queries)) == true_answers(queries)
    assert sizes == [8, 8, 8, 16, 16]


def test_a_model_is_asked_as_in_training_and_compiled_once() -> None:
    """Against answers one by one, by the whole sequence anew for each token."""
    tokenizer = make_tokenizer("bytes")
    rewrites = small(
        no_op_fraction=0.5, num_programs=8, eval_batch_size=16, step_limit=6, num_test_examples=20
    )
    config = Config(
        data=DataConfig(source="rewrites", template="plain", rewrites=rewrites),
        model=ModelConfig(
            vocab_size=tokenizer.vocab_size,
            num_layers=1,
            embed_dim=16,
            num_heads=2,
            num_kv_heads=2,
            mlp_dim=32,
            max_positions=40,
            compute_dtype="float32",
        ),
    )
    params = jax.jit(lambda key: decoder.init_params(config.model, key))(jax.random.key(0))
    template, mesh = make_template("plain", tokenizer), make_mesh(config.mesh)
    task = make_tasks(rewrites, 0)["train"]
    compiled = decoding._greedy._cache_size()
    model = Model(params, config.model, tokenizer, template, mesh, ShardingRules())
    row = evaluation.evaluate(model, config)
    assert decoding._greedy._cache_size() == compiled + 1

    @jax.jit
    def last_logits(tokens: jax.Array, length: jax.Array) -> jax.Array:
        exists = (jnp.arange(tokens.shape[1]) < length).astype(jnp.int32)[None]
        return decoder.logits(params, config.model, tokens, exists, jnp.arange(40)[None])[0, length - 1]

    def answer(query: Query) -> str:
        said = rewrites.prompt.format(left=query.left, right=query.right, input=query.text)
        tokens = encode_prompt([Message("user", said)], template, tokenizer).tolist()
        start = len(tokens)
        while len(tokens) < start + 11 and tokenizer.eos_id not in tokens[start:]:
            padded = np.zeros((1, 40), np.int32)
            padded[0, : len(tokens)] = tokens
            tokens.append(int(np.argmax(last_logits(padded, len(tokens)))))
        return evaluation.text_of(model.read(tokens[start:]))

    expected = program_scores.evaluate(rewrites, task, strings(task, answer))
    assert {name: row[name] for name in row if name.startswith("programs/")} == expected


def test_a_run_reports_accuracy_on_programs_beside_that_on_single_rules(tmp_path: pathlib.Path) -> None:
    config = experiments.base("smoke")
    fields = {"programs": "sort, random", "num_programs": 16, "no_op_fraction": 0.5, "eval_batch_size": 100}
    config.data.rewrites = dataclasses.replace(config.data.rewrites, num_rules=40, **fields)
    validation.check(config)
    answers = start.train(config, tmp_path, Console(quiet=True))["rewrites"]
    assert json.loads((tmp_path / "summary.json").read_text())["rewrites"] == answers
    for kind in ("random", "sort"):
        of = {name: answers[f"programs/{kind}/{name}"] for name in (*ADDS_UP, *BUCKETS, "step_accuracy")}
        assert sum(of[name] for name in ADDS_UP) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in of.values())
        assert answers[f"programs/{kind}/runs"] == 16


def test_programs_that_cannot_be_drawn_stop_a_run_before_it_trains(tmp_path: pathlib.Path) -> None:
    config = experiments.base("smoke")
    # Of the 240 rules of 2 letters out of 4, hardly any left side is free of training rules.
    fields = {"alphabet": "abcd", "num_rules": 200, "num_test_rules": 10, "program_rules": 9}
    config.data.rewrites = dataclasses.replace(
        config.data.rewrites, programs="random", num_programs=40, **fields
    )
    with pytest.raises(ConfigError, match="num_programs=40: found only 0 different random programs"):
        start.train(config, tmp_path, Console(quiet=True))
    assert not (tmp_path / "metrics.jsonl").exists()
