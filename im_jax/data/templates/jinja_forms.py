"""The built-in templates as Jinja, for readers of exported models; each writes what `built_in` writes.

As elsewhere a message has a `role` and a `content`; of an assistant `reasoning_content` (or `thinking`) and
`tool_calls`, of a user also `input`. What a template cannot write raises an error. All white space between
the tags goes; what is written stands in quotes.
"""

import json
from types import MappingProxyType
from typing import Final

from im_jax.data.templates.built_in import ALPACA_PREAMBLES, TOOLS, BuiltInTemplate

_REFUSE: Final = r"""
{%- if tools is defined and tools -%}
  {{- raise_exception('this template writes no tools') -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message['role'] not in ['system', 'user', 'assistant'] -%}
    {{- raise_exception('this template writes no messages of ' + message['role']) -}}
  {%- elif message['tool_calls'] is defined and message['tool_calls'] -%}
    {{- raise_exception('this template writes no calls of tools') -}}
  {%- elif message['reasoning_content'] is defined and message['reasoning_content'] -%}
    {{- raise_exception('this template writes no thoughts beside an answer') -}}
  {%- endif -%}
{%- endfor -%}
"""
_LOOP: Final = r"""
{%- for message in messages -%}
  {%- set text = message['content'] or '' -%}
  {%- set more = message['input'] if message['input'] is defined and message['input'] else '' -%}
"""
_WITH_MORE: Final = r"""
  {%- if more -%}{%- set text = text + '\n\n' + more -%}{%- endif -%}
"""

_TULU: Final = f"{_REFUSE}{_LOOP}{_WITH_MORE}" + (
    r"""
  {{- '<|' + message['role'] + '|>\n' + text.strip() -}}
  {%- if message['role'] == 'assistant' -%}{{- eos -}}{%- endif -%}
  {%- if not loop.last or add_generation_prompt -%}{{- '\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%}
"""
)
_CHATML: Final = (
    r"""
{%- set listed = '' -%}
{%- if tools is defined and tools -%}
  {%- set ns = namespace(lines='') -%}
  {%- for tool in tools -%}
    {%- set ns.lines = ns.lines + (tool if tool is string else tool | tojson) -%}
    {%- if not loop.last -%}{%- set ns.lines = ns.lines + '\n' -%}{%- endif -%}
  {%- endfor -%}
  {%- set listed = tools_before + ns.lines + tools_after -%}
  {%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\n' + listed + '<|im_end|>\n' -}}
  {%- endif -%}
{%- endif -%}
"""
    f"{_LOOP}{_WITH_MORE}"
    r"""
  {{- '<|im_start|>' + message['role'] + '\n' -}}
  {%- if message['role'] == 'tool' -%}{{- '<tool_response>\n' -}}{%- endif -%}
  {%- if message['reasoning_content'] is defined and message['reasoning_content'] -%}
    {{- '<think>\n' + message['reasoning_content'] + '\n</think>\n\n' -}}
  {%- elif message['thinking'] is defined and message['thinking'] -%}
    {{- '<think>\n' + message['thinking'] + '\n</think>\n\n' -}}
  {%- endif -%}
  {{- text -}}
  {%- if message['tool_calls'] is defined and message['tool_calls'] -%}
    {%- for tool_call in message['tool_calls'] -%}
      {%- set call = tool_call['function'] if tool_call['function'] is defined else tool_call -%}
      {%- if text or not loop.first -%}{{- '\n' -}}{%- endif -%}
      {{- '<tool_call>\n{"name": "' + call['name'] + '", "arguments": ' -}}
      {%- if call['arguments'] is string -%}
        {{- call['arguments'] -}}
      {%- else -%}
        {{- call['arguments'] | tojson -}}
      {%- endif -%}
      {{- '}\n</tool_call>' -}}
    {%- endfor -%}
  {%- endif -%}
  {%- if message['role'] == 'tool' -%}{{- '\n</tool_response>' -}}{%- endif -%}
  {%- if listed and loop.first and message['role'] == 'system' -%}{{- '\n\n' + listed -}}{%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""
)
_LLAMA2: Final = f"{_REFUSE}{_LOOP}{_WITH_MORE}" + (
    r"""
  {%- if message['role'] == 'system' -%}
    {{- bos + '[INST] <<SYS>>\n' + text.strip() + '\n<</SYS>>\n\n' -}}
  {%- elif message['role'] == 'user' -%}
    {%- if loop.first or messages[loop.index0 - 1]['role'] != 'system' -%}{{- bos + '[INST] ' -}}{%- endif -%}
    {{- text.strip() + ' [/INST]' -}}
  {%- else -%}
    {{- ' ' + text.strip() + ' ' + eos -}}
  {%- endif -%}
{%- endfor -%}
"""
)
_LLAMA3: Final = f"{_REFUSE}{{{{- bos -}}}}{_LOOP}{_WITH_MORE}" + (
    r"""
  {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + text.strip() + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}
"""
)
_ALPACA: Final = f"{_REFUSE}{_LOOP}" + (
    r"""
  {%- if message['role'] == 'assistant' -%}
    {{- '### Response:' + text + eos -}}
  {%- elif message['role'] == 'system' -%}
    {{- text -}}
  {%- else -%}
    {%- if loop.first -%}{{- preamble_with_input if more else preamble -}}{%- endif -%}
    {{- '### Instruction:\n' + text -}}
    {%- if more -%}{{- '\n\n### Input:\n' + more -}}{%- endif -%}
  {%- endif -%}
  {%- if not loop.last or add_generation_prompt -%}{{- '\n\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Response:' -}}{%- endif -%}
"""
)
_PLAIN: Final = f"{_REFUSE}{_LOOP}{_WITH_MORE}" + (
    r"""
  {{- text -}}
  {%- if message['role'] == 'assistant' -%}{{- eos -}}{%- endif -%}
  {%- if not loop.last or add_generation_prompt -%}{{- '\n' -}}{%- endif -%}
{%- endfor -%}
"""
)

_FORMS: Final = MappingProxyType(
    {
        "tulu": _TULU,
        "chatml": _CHATML,
        "llama2": _LLAMA2,
        "llama3": _LLAMA3,
        "alpaca": _ALPACA,
        "plain": _PLAIN,
    }
)


def jinja_form(template: BuiltInTemplate, *, with_bos: bool) -> str:
    """Jinja source that writes what a built-in template writes.

    Args:
        template: it, with the special tokens of a tokenizer, which the source has as texts.
        with_bos: whether a BOS stands in front of every text in training, which the template leaves to the
            tokenizer. Readers add none to a text that a chat template wrote, so that the source must.
    """
    texts = {"bos": template.boundaries.bos, "eos": template.boundaries.eos}
    if template.name == "chatml":
        texts["tools_before"], _, texts["tools_after"] = TOOLS.format(tools="\0").partition("\0")
    if template.name == "alpaca":
        texts["preamble"], texts["preamble_with_input"] = ALPACA_PREAMBLES
    named = "".join(
        f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n" for name, text in texts.items()
    )
    first = "{{- bos -}}" if with_bos and template.adds_bos else ""
    return named + first + _FORMS[template.name].lstrip()
