"""SmolLM3 and Zephyr, of Hugging Face, and bare ChatML."""

from tests.data.templates.families.family import IM, Family

SMOLLM_3 = """{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}{%- else %}{%- set system = '' %}{%- endif %}
{%- if '/no_think' in system %}{%- set mode = '/no_think' %}{%- else %}{%- set mode = '/think' %}{%- endif %}
{%- set custom = system.replace('/no_think', '').replace('/think', '').rstrip() %}
{{- '<|im_start|>system\\n' }}
{{- '## Metadata\\n\\n' }}{{- 'Today Date: ' ~ strftime_now('%d %B %Y') ~ '\\n' }}{{- 'Reasoning Mode: ' + mode + '\\n\\n' }}
{{- '## Custom Instructions\\n\\n' }}
{%- if custom %}{{- custom + '\\n\\n' }}{%- endif %}
{%- if tools %}{{- '### Tools\\n\\n<tools>\\n' }}{%- for tool in tools %}{{- (tool | string) + '\\n' }}{%- endfor %}{{- '</tools>\\n\\n' }}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' -%}{{ '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' -%}
        {% generation %}
        {%- if mode == '/think' -%}{{ '<|im_start|>assistant\\n' + content.lstrip('\\n') + '<|im_end|>\\n' }}
        {%- else -%}{{ '<|im_start|>assistant\\n' + '<think>\\n\\n</think>\\n' + content.lstrip('\\n') + '<|im_end|>\\n' }}{%- endif %}
        {% endgeneration %}
    {%- elif message.role == 'tool' -%}{{ '<|im_start|>user\\n' + content + '<|im_end|>\\n' }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {%- if mode == '/think' -%}{{ '<|im_start|>assistant\\n' }}{%- else -%}{{ '<|im_start|>assistant\\n' + '<think>\\n\\n</think>\\n' }}{%- endif %}
{%- endif -%}"""
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

FAMILIES = {
    "SmolLM3": Family(SMOLLM_3, IM, "system inside tools"),
    "Zephyr": Family(ZEPHYR, r"<\|assistant\|>\n(?P<written>.*?</s>)"),
    "ChatML": Family(CHATML, IM),
}
