"""Nemotron-3: its generation prompt opens a thought, which an answer without one closes at once."""

from tests.data.templates.families.family import CALLS, Family

NEMOTRON_3 = """{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}{%- set turns = messages[1:] %}
{%- else %}{%- set system = '' %}{%- set turns = messages %}{%- endif %}
{%- set ns = namespace(last=-1) %}
{%- for m in turns %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{{- '<|im_start|>system\\n' + system }}
{%- if tools %}{{- '\\n\\n# Tools\\n\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n<function>\\n<name>' ~ tool.function.name ~ '</name>\\n</function>' }}{%- endfor %}
    {{- '\\n</tools>' }}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in turns %}
    {%- if message.role == 'assistant' %}
        {%- if message.reasoning_content is defined and message.reasoning_content | trim | length > 0 %}
            {%- set content = '<think>\\n' ~ message.reasoning_content ~ '\\n</think>\\n' ~ (message.content | default('', true)) %}
        {%- else %}
            {%- set content = message.content | default('', true) %}
            {%- if '<think>' not in content and '</think>' not in content %}{%- set content = '<think></think>' ~ content %}{%- endif %}
        {%- endif %}
        {%- if loop.index0 < ns.last and '</think>' in content %}
            {%- set content = '<think></think>' ~ content.split('</think>')[-1] %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' ~ (content | trim) }}
        {%- if message.tool_calls %}{{- '\\n' }}
            {%- for call in message.tool_calls %}
                {%- set call = call.function %}
                {{- '<tool_call>\\n<function=' ~ call.name ~ '>\\n' -}}
                {%- for key, value in call.arguments|items %}{{- '<parameter=' ~ key ~ '>\\n' ~ (value | string) ~ '\\n</parameter>\\n' -}}{%- endfor %}
                {{- '</function>\\n</tool_call>\\n' -}}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>user\\n' }}{%- endif %}
        {{- '<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>\\n' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' }}{{- message.content | string }}{{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"""

FAMILIES = {
    "Nemotron-3": Family(
        NEMOTRON_3,
        r"<\|im_start\|>assistant\n<think>\n?(?P<written>.*?<\|im_end\|>)",
        f"system thoughts inside {CALLS}",
        "nemotron_3_nano",
    ),
}
