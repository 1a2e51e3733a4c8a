"""OLMo 2 and 3: the last stop is another one; the generation prompt of OLMo 3 Think opens a thought."""

from tests.data.templates.families.family import Family

OLMO_2 = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\\n' + message['content'] + '\\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + '\\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>\\n' + message['content'] + eos_token + '\\n' }}{% else %}{{ '<|assistant|>\\n' + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}{% endfor %}"""
OLMO_3 = """{%- set has_system = messages|selectattr('role', 'equalto', 'system')|list|length > 0 -%}
{%- if not has_system -%}{{- '<|im_start|>system\\nYou help. ' -}}
    {%- if tools is none -%}{{- 'You have no functions. <functions></functions><|im_end|>\\n' -}}
    {%- else -%}{{- 'You have functions: <functions>' + (tools | tojson) + '</functions><|im_end|>\\n' -}}{%- endif -%}
{%- endif -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{- '<|im_start|>system\\n' + message['content'] -}}
        {%- if tools is not none -%}{{- ' <functions>' + (tools | tojson) + '</functions>' -}}{%- endif -%}
        {{- '<|im_end|>\\n' -}}
    {%- elif message['role'] == 'user' -%}{{- '<|im_start|>user\\n' + message['content'] + '<|im_end|>\\n' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- '<|im_start|>assistant\\n' -}}
        {%- if message.get('content', none) is not none -%}{{- message['content'] -}}{%- endif -%}
        {%- if message.get('tool_calls', none) is not none -%}
            {{- '<function_calls>' -}}
            {%- for call in message['tool_calls'] -%}
                {{- call.function.name + '(' -}}
                {%- for key, value in call.function.arguments.items() -%}{{- key + '=' + value | tojson -}}{{- ', ' if not loop.last -}}{%- endfor -%}
                {{- ')' -}}{{- '\\n' if not loop.last -}}
            {%- endfor -%}
            {{- '</function_calls>' -}}
        {%- endif -%}
        {%- if not loop.last -%}{{- '<|im_end|>' + '\\n' -}}{%- else -%}{{- eos_token -}}{%- endif -%}
    {%- elif message['role'] == 'tool' -%}{{- '<|im_start|>environment\\n' + message['content'] + '<|im_end|>\\n' -}}
    {%- endif -%}
    {%- if loop.last and add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
{%- endfor -%}"""
OLMO_3_THINK = OLMO_3.replace(
    "{{- '<|im_start|>assistant\\n' -}}{%- endif -%}\n{%- endfor -%}",
    "{{- '<|im_start|>assistant\\n<think>' -}}{%- endif -%}\n{%- endfor -%}",
)

_HAS = "system inside tools calls text_calls calls_at_once"
FAMILIES = {
    "OLMo 2": Family(OLMO_2, r"<\|assistant\|>\n(?P<written>.*?</s>)"),
    "OLMo 3": Family(OLMO_3, r"<\|im_start\|>assistant\n(?P<written>.*?(?:<\|im_end\|>|</s>))", _HAS),
    "OLMo 3 Think": Family(
        OLMO_3_THINK, r"<\|im_start\|>assistant\n(?:<think>)?(?P<written>.*?(?:<\|im_end\|>|</s>))", _HAS
    ),
}
