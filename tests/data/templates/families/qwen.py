"""Qwen2.5, Qwen3 and Qwen3.5: ChatML with tools, with thoughts, and with calls in XML."""

from tests.data.templates.families.family import CALLS, IM, Family

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

FAMILIES = {
    "Qwen2.5": Family(QWEN2_5, IM, f"system inside {CALLS}", "qwen2_5"),
    "Qwen3": Family(QWEN3, IM, f"system thoughts inside {CALLS}", "qwen3"),
    "Qwen3.5": Family(
        QWEN3_5,
        r"<\|im_start\|>assistant\n(?:<think>\n)?(?P<written>.*?<\|im_end\|>)",
        f"system thoughts inside {CALLS}",
        "qwen3_5_think",
    ),
}
