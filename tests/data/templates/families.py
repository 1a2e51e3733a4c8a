"""Chat templates of model families: written for these tests after the families' published formats.

The structure is theirs, mark by mark; system texts and explanations are shorter and in other words. `ANSWER` says,
by the published format alone, which characters of a text the model writes: from where the generation prompt ends
to the stop.
"""

import re
from dataclasses import dataclass

QWEN_TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\nFunctions in XML tags:\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools>\\n\\nAnswer with:\\n<tool_call>\\n{\\"name\\": ...}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    DEFAULT{%- endif %}
{%- endif %}
"""
QWEN_CALLS = """{%- for call in message.tool_calls %}
    {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
    {%- if call.function %}{%- set call = call.function %}{%- endif %}
    {{- '<tool_call>\\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
    {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
    {{- '}\\n</tool_call>' }}
{%- endfor %}"""
QWEN_RESULT = """{%- elif message.role == "tool" %}
    {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
    {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}"""
SPLIT_THOUGHT = """{%- set content = message.content %}{%- set thought = '' %}
{%- if message.reasoning_content is string %}
    {%- set thought = message.reasoning_content %}
{%- elif '</think>' in content %}
    {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}"""
LAST_QUERY = """{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and not(message.content.startswith('<tool_response>')) %}
        {%- set ns.searching = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
"""

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

QWEN2_5 = (
    QWEN_TOOLS.replace("DEFAULT", "{%- else %}{{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}")
    + """{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}{{- call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    """
    + QWEN_RESULT
    + """
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
)
QWEN3 = (
    QWEN_TOOLS.replace("DEFAULT", "")
    + LAST_QUERY
    + """{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        """
    + SPLIT_THOUGHT
    + """
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}"""
    + QWEN_CALLS
    + """{%- endif %}
        {{- '<|im_end|>\\n' }}
    """
    + QWEN_RESULT
    + """
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
)
XML_CALLS = """{%- for call in message.tool_calls %}
    {%- set call = call.function %}
    {{- ('\\n\\n' if loop.first and content|trim else '' if loop.first else '\\n') + '<tool_call>\\n<function=' + call.name + '>\\n' }}
    {%- for key, value in call.arguments|items %}
        {{- '<parameter=' + key + '>\\n' }}
        {%- set value = value | tojson | safe if value is mapping or (value is sequence and value is not string) else value | string %}
        {{- value }}{{- '\\n</parameter>\\n' }}
    {%- endfor %}
    {{- '</function>\\n</tool_call>' }}
{%- endfor %}"""
QWEN3_5 = (
    """{%- macro written(content) %}{%- if content is string %}{{- content }}{%- else %}{{- raise_exception('No text.') }}{%- endif %}{%- endmacro %}
"""
    + QWEN_TOOLS.replace("DEFAULT", "")
    + LAST_QUERY
    + """{%- for message in messages %}
    {%- set shown = written(message.content)|trim %}
    {%- if message.role == "user" %}
        {{- '<|im_start|>' + message.role + '\\n' + shown + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        """
    + SPLIT_THOUGHT.replace("set content = message.content", "set content = shown")
    + """
        {%- set thought = thought|trim %}
        {%- if loop.index0 > ns.last %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought + '\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}"""
    + XML_CALLS
    + """{%- endif %}
        {{- '<|im_end|>\\n' }}
    """
    + QWEN_RESULT
    + """
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"""
)
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
LLAMA_2 = """{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set turns = messages %}{% set system = false %}{% endif %}{% for message in turns %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate.') }}{% endif %}{% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
LLAMA_3 = """{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}{{- system }}{{- "<|eot_id|>" }}
{%- if tools is not none %}
    {%- set first = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- 'Functions:\\n\\n' }}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
    {{- first + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("One call at once!") }}{%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}{{- call.arguments | tojson }}{{- "}" }}{{- "<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}{{- message.content | tojson }}{{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
GEMMA_2 = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""
GEMMA_3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set prefix = messages[0]['content'] + '\\n\\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set prefix = "" -%}{%- set turns = messages -%}{%- endif -%}
{%- for message in turns -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (prefix if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\\n'}}{%- endif -%}"""
MISTRAL_3 = """{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}{%- set turns = messages[1:] %}
{%- else %}{%- set turns = messages %}{%- endif %}
{%- set users = turns | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in turns %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == users[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}{{- tool | tojson }}{{- ", " if not loop.last else "]" }}{%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system is defined %}{{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- elif loop.first and system is defined %}{{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function|tojson %}
            {{- out[:-1] }}
            {%- if not call.id is defined or call.id|length != 9 %}{{- raise_exception("Ids have length 9!") }}{%- endif %}
            {{- ', "id": "' + call.id + '"}' }}
            {{- ", " if not loop.last else "]" + eos_token }}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message["content"]|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}"""
PHI_3 = """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""
PHI_4_MINI = """{% for message in messages %}{% if message['role'] == 'system' and tools %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + (tools | tojson) + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"""
DEEPSEEK_R1 = """{% set ns = namespace(is_tool=false, is_first=true, system='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system = message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<\uff5cUser\uff5c>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] %}{{'<\uff5cAssistant\uff5c>' + (message['content'] or '') + '<\uff5ctool▁calls▁begin\uff5c>'}}{%- for call in message['tool_calls'] %}{{'<\uff5ctool▁call▁begin\uff5c>' + call['type'] + '<\uff5ctool▁sep\uff5c>' + call['function']['name'] + '\\n```json\\n' + call['function']['arguments'] + '\\n```<\uff5ctool▁call▁end\uff5c>'}}{%- endfor %}{{'<\uff5ctool▁calls▁end\uff5c><\uff5cend▁of▁sentence\uff5c>'}}{%- elif message['role'] == 'assistant' %}{%- if ns.is_tool %}{{'<\uff5ctool▁outputs▁end\uff5c>' + message['content'] + '<\uff5cend▁of▁sentence\uff5c>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<\uff5cAssistant\uff5c>' + content + '<\uff5cend▁of▁sentence\uff5c>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{ '<\uff5ctool▁outputs▁begin\uff5c>' if ns.is_first }}{%- set ns.is_first = false %}{{'<\uff5ctool▁output▁begin\uff5c>' + message['content'] + '<\uff5ctool▁output▁end\uff5c>'}}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<\uff5ctool▁outputs▁end\uff5c>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<\uff5cAssistant\uff5c><think>\\n'}}{% endif %}"""
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
GPT_OSS = """{%- macro system_message() -%}
    {{- "You are a model.\\nCurrent date: " + strftime_now("%Y-%m-%d") + "\\n\\nReasoning: medium\\n\\n" }}
    {{- "# Valid channels: analysis, commentary, final." }}
{%- endmacro -%}
{%- macro namespace_of(tools) -%}
    {{- "namespace functions {\\n\\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- "// " + tool.description + "\\n" }}{{- "type " + tool.name + " = (_: {\\n" }}
        {%- for key, spec in tool.parameters.properties.items() %}{{- key + ": " + spec.type + ",\\n" }}{%- endfor %}
        {{- "}) => any;\\n\\n" }}
    {%- endfor %}
    {{- "} // namespace functions" }}
{%- endmacro -%}
{{- "<|start|>system<|message|>" }}{{- system_message() }}{{- "<|end|>" }}
{%- if messages[0].role == "system" %}{%- set developer = messages[0].content %}{%- set turns = messages[1:] %}
{%- else %}{%- set developer = "" %}{%- set turns = messages %}{%- endif %}
{%- if developer or tools %}
    {{- "<|start|>developer<|message|>" }}
    {%- if developer %}{{- "# Instructions\\n\\n" }}{{- developer }}{{- "\\n\\n" }}{%- endif %}
    {%- if tools -%}{{- "# Tools\\n\\n" }}{{- namespace_of(tools) }}{%- endif -%}
    {{- "<|end|>" }}
{%- endif %}
{%- set last_call = namespace(name=none) %}
{%- for message in turns -%}
    {%- if message.role == 'assistant' -%}
        {%- if "thinking" in message and "<|channel|>analysis<|message|>" in message.thinking %}{{- raise_exception("Tags!") }}{%- endif %}
        {%- if "tool_calls" in message %}
            {%- set later = namespace(found=false) %}
            {%- for future in turns[loop.index:] %}
                {%- if future.role == 'assistant' and "tool_calls" not in future %}{%- set later.found = true %}{%- endif %}
            {%- endfor %}
            {%- set call = message.tool_calls[0].function %}
            {%- if message.thinking and not later.found %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}
            {{- "<|start|>assistant to=" }}{{- "functions." + call.name + "<|channel|>commentary " }}{{- "json<|message|>" }}
            {{- call.arguments|tojson }}{{- "<|call|>" }}
            {%- set last_call.name = call.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {%- if "thinking" in message %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
        {%- else %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}
            {%- set last_call.name = none %}
        {%- endif %}
    {%- elif message.role == 'tool' -%}
        {{- "<|start|>functions." + last_call.name }}
        {{- " to=assistant<|channel|>commentary<|message|>" + message.content|tojson + "<|end|>" }}
    {%- elif message.role == 'user' -%}{{- "<|start|>user<|message|>" + message.content + "<|end|>" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""
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
"""With the stop that GLM generates: the mark of who speaks next, which the family's template writes before that."""
GLM_4_UNSTOPPED = (
    GLM_4.replace("{%- if loop.first or messages[loop.index0 - 1].role != 'assistant' -%}<|user|>{%- endif -%}", "<|user|>")
    .replace("{%- else -%}{{- '<|user|>' }}\n{%- endif %}", "{%- endif %}")
    .replace("<|observation|>\n", "")
)  # fmt: skip
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


@dataclass(frozen=True)
class Family:
    """A template, what its format has, and which part of a text the model writes."""

    source: str
    answer: str
    """A pattern: the generation prompt, then the group `written`, which ends with the stop."""
    has: str = "system"
    """Of `system`, `thoughts` (beside the content), `inside` (in the content), `tools`, `unlisted` (no list of them)."""
    trl: str = ""
    """The template of the same format that TRL carries."""

    def written(self, text: str) -> list[tuple[int, int]]:
        """Where the answers of a text are, by the published format alone."""
        return [found.span("written") for found in re.finditer(self.answer, text, re.DOTALL)]


IM = r"<\|im_start\|>assistant\n(?P<written>.*?<\|im_end\|>)"
IM_THINK = r"<\|im_start\|>assistant\n(?:<think>\n)?(?P<written>.*?<\|im_end\|>)"
LLAMA = r"assistant<\|end_header_id\|>\n\n(?P<written>.*?<\|eot_id\|>)"
GEMMA = r"<start_of_turn>model\n(?P<written>.*?<end_of_turn>)"
ALL = "system thoughts inside tools"
FAMILIES = {
    "Llama 2": Family(LLAMA_2, r" \[/INST\](?P<written>.*?</s>)"),
    "Llama 3.1": Family(LLAMA_3, LLAMA, "system inside tools", "llama3_1"),
    "Llama 3.2": Family(LLAMA_3, LLAMA, "system inside tools", "llama3_2"),
    "Qwen2.5": Family(
        QWEN2_5, r"<\|im_start\|>assistant\n(?P<written>.*?<\|im_end\|>)", "system inside tools", "qwen2_5"
    ),
    "Qwen3": Family(QWEN3, IM, ALL, "qwen3"),
    "Qwen3.5": Family(QWEN3_5, IM_THINK, ALL, "qwen3_5_think"),
    "Gemma 2": Family(GEMMA_2, GEMMA, "", "gemma"),
    "Gemma 3": Family(GEMMA_3, GEMMA, "system", "gemma3"),
    "Mistral v0.3": Family(MISTRAL_3, r"(?:\[/INST\]|\[/TOOL_RESULTS\])(?P<written>.*?</s>)", "system tools"),
    "Phi-3": Family(PHI_3, r"<\|assistant\|>\n(?P<written>.*?<\|end\|>)", "system", "phi3"),
    "Phi-4-mini": Family(PHI_4_MINI, r"<\|assistant\|>(?P<written>.*?<\|end\|>)"),
    "DeepSeek-R1": Family(
        DEEPSEEK_R1,
        r"(?:<\uff5cAssistant\uff5c>|<\uff5ctool▁outputs▁end\uff5c>)(?P<written>.*?<\uff5cend▁of▁sentence\uff5c>)",
        "system tools unlisted",
        "deepseekv3",
    ),
    "OLMo 2": Family(OLMO_2, r"<\|assistant\|>\n(?P<written>.*?</s>)"),
    "OLMo 3": Family(
        OLMO_3, r"<\|im_start\|>assistant\n(?P<written>.*?(?:<\|im_end\|>|</s>))", "system tools"
    ),
    "GPT-OSS": Family(
        GPT_OSS,
        r"<\|start\|>assistant(?P<written>.*?(?:<\|return\|>|<\|call\|>|<\|end\|>(?!<\|start\|>assistant)))",
        "system thoughts tools",
        "gptoss",
    ),
    "GLM-4": Family(
        GLM_4, r"<\|assistant\|>(?P<written>.*?(?:<\|user\|>|<\|observation\|>))", ALL, "glm4moe_training"
    ),
    "Nemotron-3": Family(
        NEMOTRON_3,
        r"<\|im_start\|>assistant\n<think>\n?(?P<written>.*?<\|im_end\|>)",
        ALL.replace(" inside", ""),
        "nemotron_3_nano",
    ),
    "SmolLM3": Family(SMOLLM_3, IM, "system inside"),
    "Zephyr": Family(ZEPHYR, r"<\|assistant\|>\n(?P<written>.*?</s>)"),
    "ChatML": Family(CHATML, IM, "system inside"),
}
