"""GLM-4 as TRL trains it: the mark of who speaks next ends the answer, which the family's own template begins with."""

from tests.data.templates.families.family import CALLS, Family

GLM_4 = """[gMASK]<sop>
{%- if tools -%}<|system|>
# Tools
<tools>
{% for tool in tools %}{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}</tools>{%- endif -%}
{%- macro visible(content) -%}{%- if content is string -%}{{- content }}{%- else -%}{{- content }}{%- endif -%}{%- endmacro -%}
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.last = loop.index0 -%}{%- endif %}{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'assistant' -%}<|user|>{%- endif -%}
{{ '\\n' + visible(m.content) }}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- set thought = '' %}{%- set content = visible(m.content) %}
{%- if m.reasoning_content is string %}{%- set thought = m.reasoning_content %}
{%- elif '</think>' in content %}
    {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- if loop.index0 > ns.last and thought -%}{{ '\\n<think>' + thought.strip() + '</think>'}}
{%- else -%}{{ '\\n<think></think>' }}{%- endif -%}
{%- if content.strip() -%}{{ '\\n' + content.strip() }}{%- endif -%}
{% if m.tool_calls %}
{% for call in m.tool_calls %}
{%- set call = call.function %}
{{ '\\n<tool_call>' + call.name }}
{% for k, v in call.arguments.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}
</tool_call>{% endfor %}<|observation|>
{%- else -%}{{- '<|user|>' }}
{%- endif %}
{%- elif m.role == 'tool' -%}
{{- '\\n<tool_response>\\n' }}{{- m.content }}{{- '\\n</tool_response>' }}
{%- elif m.role == 'system' -%}
<|system|>
{{ visible(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""
GLM_4_UNSTOPPED = (
    GLM_4.replace("{%- if loop.first or messages[loop.index0 - 1].role != 'assistant' -%}<|user|>{%- endif -%}", "<|user|>")
    .replace("{%- else -%}{{- '<|user|>' }}\n{%- endif %}", "{%- endif %}")
    .replace("<|observation|>\n", "")
)  # fmt: skip
"""As the family has it: what GLM generates as a stop is the first mark of the next message."""

FAMILIES = {
    "GLM-4": Family(
        GLM_4,
        r"<\|assistant\|>(?P<written>.*?(?:<\|user\|>|<\|observation\|>))",
        f"system thoughts inside {CALLS}",
        "glm4moe_training",
    ),
}
