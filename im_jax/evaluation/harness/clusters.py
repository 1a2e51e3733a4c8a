"""Which items of a task belong together, so that they are not counted as independent.

Sentences of one Winograd schema differ in a word or two; the LAMBADA texts of five languages are translations
of the same; translation in both directions has the same sentences.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_ALIKE: Final = 0.6
"""Share of characters in common of sentences of one schema whose candidates are not quite the same."""


def clusters(task: str, docs: Sequence[Mapping[str, Any]], doc_ids: Sequence[int]) -> list[str]:
    """A name for the cluster of each item, unique over all tasks.

    Args:
        task: its name.
        docs: the items as the task has them, in the order of their numbers.
        doc_ids: their numbers.
    """
    if task == "wsc273":
        return [f"wsc273/{number}" for number in schemas(docs)]
    if task.startswith("lambada_openai_mt_"):
        return [f"lambada_openai_mt/{doc_id}" for doc_id in doc_ids]
    if found := re.fullmatch(r"(wmt\d+)-(\w\w)-(\w\w)", task):
        place = f"{found[1]}-{'-'.join(sorted(found.groups()[1:]))}"
        return [f"{place}/{doc_id}" for doc_id in doc_ids]
    return [f"{task}/{doc_id}" for doc_id in doc_ids]


def schemas(docs: Sequence[Mapping[str, Any]]) -> list[int]:
    """The number of each sentence's schema: neighbours of the same candidates, or of one and like words."""
    numbers: list[int] = []
    for at, doc in enumerate(docs):
        same = at > 0 and _same_schema(docs[at - 1], doc)
        numbers.append(numbers[-1] + (not same) if numbers else 0)
    return numbers


def _same_schema(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    options = [{str(option).lower() for option in doc["options"]} for doc in (one, other)]
    if options[0] == options[1]:
        return True
    alike = difflib.SequenceMatcher(None, one["text"], other["text"], autojunk=False).ratio()
    return bool(options[0] & options[1]) and alike > _ALIKE
