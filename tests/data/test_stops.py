"""Every stop that a template writes behind an answer is known, and nothing that stands inside of one."""

import datetime

import jax
import pytest

from im_jax.config import TEMPLATES, MeshConfig, ModelConfig
from im_jax.data.encoding import encode_prompt
from im_jax.data.records import Conversation, Message
from im_jax.data.stops import stop_sequences, stop_tokens
from im_jax.data.templates import Template, make_template
from im_jax.data.templates.jinja import JinjaTemplate
from im_jax.data.tokenizers import make_tokenizer
from im_jax.mesh import make_mesh
from im_jax.models.loaded import Answer, Model
from im_jax.models.sharding import ShardingRules
from tests.data.templates.families import FAMILIES

BYTES = make_tokenizer("bytes")
ENDS = {
    "Llama 3.1": ["<|eot_id|>"],
    "Qwen3": ["<|im_end|>"],
    "Gemma 2": ["<end_of_turn>"],
    "Mistral v0.3": ["</s>"],
    "Phi-3": ["<|end|>"],
    "OLMo 3": ["</s>", "<|im_end|>"],
    "GPT-OSS": ["<|return|>", "<|call|>"],
    "GLM-4": ["<|user|>", "<|observation|>"],
    "Zephyr": ["</s>"],
}
CALLS_END = """{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] -%}
{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{{ '<|eom_id|>' if m.tool_calls else '<|eot_id|>' }}
{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""


def family(source: str) -> JinjaTemplate:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    marks = ["<|observation|>", "<|call|>", "<|eom_id|>"]
    return JinjaTemplate("family", source, special, datetime.datetime(2026, 2, 3), marks)


@pytest.mark.parametrize("name", ENDS)
def test_stops_of_families_are_those_that_they_publish(name: str) -> None:
    template = family(FAMILIES[name].source)
    found = stop_sequences(template, BYTES)
    assert [BYTES.decode(stop, skip_special=False) for stop in found] == ENDS[name]
    assert stop_tokens(template, BYTES) == found[0]


@pytest.mark.parametrize("name", TEMPLATES)
def test_built_in_templates_have_one_stop(name: str) -> None:
    template = make_template(name, BYTES)
    assert stop_sequences(template, BYTES) == [stop_tokens(template, BYTES)]


def model(template: Template) -> Model:
    return Model(
        {}, ModelConfig(), BYTES, template, make_mesh(MeshConfig(), jax.devices()[:1]), ShardingRules()
    )


def test_an_answer_ends_at_any_stop() -> None:
    asked = model(family(CALLS_END))
    for text, said, ended in (
        ("Hi.<|eot_id|>\n<|user|>", "Hi.", True),
        ("tide{}<|eom_id|>\n<|tool|>High.<|eot_id|>", "tide{}", True),
        ("tide{}<|eom", "tide{}<|eom", False),
    ):
        tokens = BYTES.encode(text).ids.tolist()
        assert asked.read(tokens) == Answer(said, BYTES.encode(said).ids.tolist(), ended)


def test_a_prompt_has_the_tools() -> None:
    template, question, tool = family(CALLS_END), [Message("user", "Tide?")], '{"name": "tide"}'
    prompt = model(template).prompt(question, [tool])
    example = Conversation("", (*question, Message("assistant", "a")), "", (), (tool,))
    assert BYTES.decode(prompt) == '<|user|>Tide?<|eot_id|>\n[{"name": "tide"}]<|assistant|>'
    assert tool in template.render(example).text
    assert prompt.tolist() == encode_prompt(question, template, BYTES, [tool]).tolist()
    assert tool not in BYTES.decode(model(template).prompt(question))
