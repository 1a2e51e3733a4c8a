"""DeepSeek-R1: it writes no thoughts and no list of tools, and no header behind what tools say."""

from tests.data.templates.families.family import Family

DEEPSEEK_R1 = """{% set ns = namespace(is_tool=false, is_first=true, system='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system = message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<\uff5cUser\uff5c>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] %}{{'<\uff5cAssistant\uff5c>' + (message['content'] or '') + '<\uff5ctool▁calls▁begin\uff5c>'}}{%- for call in message['tool_calls'] %}{{'<\uff5ctool▁call▁begin\uff5c>' + call['type'] + '<\uff5ctool▁sep\uff5c>' + call['function']['name'] + '\\n```json\\n' + call['function']['arguments'] + '\\n```<\uff5ctool▁call▁end\uff5c>'}}{%- endfor %}{{'<\uff5ctool▁calls▁end\uff5c><\uff5cend▁of▁sentence\uff5c>'}}{%- elif message['role'] == 'assistant' %}{%- if ns.is_tool %}{{'<\uff5ctool▁outputs▁end\uff5c>' + message['content'] + '<\uff5cend▁of▁sentence\uff5c>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<\uff5cAssistant\uff5c>' + content + '<\uff5cend▁of▁sentence\uff5c>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{ '<\uff5ctool▁outputs▁begin\uff5c>' if ns.is_first }}{%- set ns.is_first = false %}{{'<\uff5ctool▁output▁begin\uff5c>' + message['content'] + '<\uff5ctool▁output▁end\uff5c>'}}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<\uff5ctool▁outputs▁end\uff5c>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<\uff5cAssistant\uff5c><think>\\n'}}{% endif %}"""

FAMILIES = {
    "DeepSeek-R1": Family(
        DEEPSEEK_R1,
        r"(?:<\uff5ctool▁output▁end\uff5c>(?=<\uff5cAssistant\uff5c>)|<\uff5cAssistant\uff5c>(?:<think>\n)?|<\uff5ctool▁outputs▁end\uff5c>)(?P<written>.*?<\uff5cend▁of▁sentence\uff5c>)",
        "system calls text_calls calls_at_once thought_calls",
        "deepseekv3",
    ),
}
