"""Answers of a small model to rewrite examples, against asking it one by one without a cache."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import Config, DataConfig, ModelConfig
from im_jax.data.encoding import encode_conversation, encode_prompt
from im_jax.data.templates import Template, make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.mesh import make_mesh
from im_jax.models import decoder
from im_jax.models.decoder import Params
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from im_jax.studies.rewrites import evaluation
from im_jax.studies.rewrites.examples import RewriteSource, make_tasks
from im_jax.studies.rewrites.examples.bulk import bulk_encoder
from im_jax.studies.rewrites.scoring import score
from tests.studies.rewrites.examples.test_task import small

TOKENIZER = make_tokenizer("bytes")


def config_of(template: str, **rewrites: object) -> Config:
    fields = {
        "num_test_examples": 10,
        "num_test_rules": 5,
        "input_length": 8,
        "eval_batch_size": 4,
    } | rewrites
    return Config(
        data=DataConfig(
            source="rewrites", template=template, rewrites=dataclasses.replace(small(), **fields)
        ),
        model=ModelConfig(
            vocab_size=TOKENIZER.vocab_size,
            num_layers=1,
            embed_dim=16,
            num_heads=2,
            num_kv_heads=2,
            mlp_dim=32,
            max_positions=96,
            compute_dtype="float32",
        ),
    )


def one_by_one(params: decoder.Params, config: Config, part: str) -> list[str]:
    """Greedy answers by the whole sequence anew for each token."""
    template = make_template(config.data.template, TOKENIZER)
    task = make_tasks(config.data.rewrites, config.data.seed)[part]
    source = RewriteSource(task, config.data.rewrites.prompt, "x")

    @jax.jit
    def last_logits(tokens: jax.Array, length: jax.Array) -> jax.Array:
        exists = (jnp.arange(tokens.shape[1]) < length).astype(jnp.int32)[None]
        positions = jnp.arange(tokens.shape[1])[None]
        return decoder.logits(params, config.model, tokens, exists, positions)[0, length - 1]

    answers = []
    for item in range(len(task)):
        conversation = source[item]
        tokens = encode_prompt(conversation.messages[:1], template, TOKENIZER).tolist()
        whole = encode_conversation(conversation, template, TOKENIZER, max_length=96)
        most = len(whole.tokens) - len(tokens) + 20
        start = len(tokens)
        while len(tokens) < start + most and TOKENIZER.eos_id not in tokens[start:]:
            padded = np.zeros((1, 96), np.int32)
            padded[0, : len(tokens)] = tokens
            tokens.append(int(np.argmax(last_logits(padded, len(tokens)))))
        answers.append(TOKENIZER.decode(tokens[start:]))
    return answers


def model_of(config: Config, params: Params, template: Template) -> Model:
    return Model(params, config.model, TOKENIZER, template, make_mesh(config.mesh), ShardingRules())


@pytest.mark.parametrize("template", ["plain", "tulu"])
def test_scores_are_those_of_answers_one_by_one(template: str) -> None:
    config = config_of(template, no_op_fraction=0.3)
    params = jax.jit(lambda key: decoder.init_params(config.model, key))(jax.random.key(0))
    # Larger weights, so that answers differ and some end.
    params = jax.tree.map(lambda x: x * 6 if x.ndim > 1 else x, params)
    row = evaluation.evaluate(model_of(config, params, make_template(template, TOKENIZER)), config)
    for name, part in evaluation.PARTS.items():
        task = make_tasks(config.data.rewrites, config.data.seed)[part]
        examples = evaluation.examples_of(task, task.examples(np.arange(len(task))))
        given = one_by_one(params, config, part)
        assert len({*given}) > 1
        expected = score(examples, given)
        assert {key: row[f"{name}/{key}"] for key in expected} == expected


@pytest.mark.parametrize(
    ("template", "prompt", "in_bulk"),
    [
        ("plain", "{left}>{right}:{input}", True),
        ("tulu", "In {input}, put {right} for {left}; {left} once.", True),
        ("tulu", "  {left}>{right}:{input}", False),  # the template strips the spaces
    ],
)
@pytest.mark.parametrize("right_length", [0, 2, 5])
def test_prompts_are_what_they_are_one_by_one(
    template: str, prompt: str, in_bulk: bool, right_length: int
) -> None:
    config = config_of(template, no_op_fraction=0.5, right_length=right_length)
    written = make_template(template, TOKENIZER)
    task = make_tasks(config.data.rewrites, 0)["test"]
    examples = task.examples(np.arange(len(task)))
    encoder = bulk_encoder(task, written, TOKENIZER, prompt)
    assert (encoder is not None and encoder.prompts_agree()) is in_bulk
    asked = evaluation.encode_prompts(task, examples, prompt, model_of(config, {}, written))
    source = RewriteSource(task, prompt, "x")
    one_by_one = [encode_prompt(source[i].messages[:1], written, TOKENIZER) for i in range(len(task))]
    assert [tokens.tolist() for tokens in asked.prompts] == [tokens.tolist() for tokens in one_by_one]
    assert asked.longest_answer == max(len(source[i].messages[1].text) for i in range(len(task)))


def test_a_template_that_prompts_otherwise_than_it_trains_is_asked_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_text(
        "{% if add_generation_prompt %}Now {% endif %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    config = config_of("plain")
    written = make_template(str(path), TOKENIZER)
    task, prompt = make_tasks(config.data.rewrites, 0)["test"], config.data.rewrites.prompt
    encoder = bulk_encoder(task, written, TOKENIZER, prompt)
    assert encoder is not None and not encoder.prompts_agree()
    asked = evaluation.encode_prompts(
        task, task.examples(np.arange(2)), prompt, model_of(config, {}, written)
    )
    source = RewriteSource(task, prompt, "x")
    for row, tokens in enumerate(asked.prompts):
        assert tokens.tolist() == encode_prompt(source[row].messages[:1], written, TOKENIZER).tolist()


def test_examples_as_strings_are_rewritten_by_replace() -> None:
    config = config_of("plain", no_op_fraction=0.5, right_length=5)
    task = make_tasks(config.data.rewrites, 0)["test"]
    arrays = task.examples(np.arange(len(task)))
    examples = evaluation.examples_of(task, arrays)
    assert len({len(example.answer) for example in examples}) == 2
    for row, example in enumerate(examples):
        assert example.input == task.text(arrays.input[row])
        assert example.answer == example.input.replace(example.left, example.right, 1)
        assert example.occurrences == int(example.left in example.input)


def test_an_answer_that_does_not_stop_is_not_right() -> None:
    a, b, eos = 97, 98, TOKENIZER.eos_id
    assert eos is not None
    model = model_of(config_of("plain"), {}, make_template("plain", TOKENIZER))
    assert evaluation.text_of(model.read([a, b, eos])) == "ab"
    assert evaluation.text_of(model.read([a, b])) == "ab…"
