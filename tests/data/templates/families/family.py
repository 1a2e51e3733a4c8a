"""What a family of chat templates is to the tests."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Family:
    """A template, what its format has, and which part of a text the model writes."""

    source: str
    answer: str
    """A pattern: the generation prompt, then the group `written`, which ends with the stop."""
    has: str = "system inside"
    """What the format can write, of the names in `conversations.CONVERSATIONS`."""
    trl: str = ""
    """The template of the same format that TRL carries."""

    def written(self, text: str) -> list[tuple[int, int]]:
        """Where the answers of a text are, by the published format alone."""
        return [found.span("written") for found in re.finditer(self.answer, text, re.DOTALL)]


IM: Final = r"<\|im_start\|>assistant\n(?P<written>.*?<\|im_end\|>)"
"""Answers of ChatML."""
CALLS: Final = "tools calls text_calls calls_at_once thought_calls"
"""Of a format with tools that sets no bounds to what an answer that calls them has beside."""
