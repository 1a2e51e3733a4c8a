"""What a token is. Every token of every example has one class; a loss policy is a weight per class.

The nine main classes are what users see, weight and read metrics by. Some have finer sub-classes for
tokens that some policy, or some user, must tell apart:

    main        sub-class        why it is told apart
    header      first_header     the released Instruction Modelling code masks only the first header
    assistant   last_assistant   the `last_turn` policy trains only the last answer
                thought          what the assistant writes before its answer may weigh otherwise
                tool_call        so may what it asks of tools
                last_thought     a thought of the last answer; part of thought
                last_tool_call   a call of the last answer; part of tool_call
    stop        last_stop        as last_assistant
    separator   stop_separator   the released instruction tuning trains the newline after a stop token

Reports sum a sub-class under its main class; a weight set for a class holds for the classes that are part of
it, unless those have weights of their own.
"""

import enum
from typing import Final

import numpy as np


class TokenClass(enum.IntEnum):
    """Class of a token; values are stored in `Batch.classes` (uint8)."""

    PAD = 0
    """Filling after the last example of a row. Never carries loss."""
    BOS = 1
    """Beginning of sequence, whether the tokenizer or the template wrote it. Never carries loss."""
    HEADER = 2
    """Template text that opens a message, such as `<|user|>` and its newline."""
    SYSTEM = 3
    """Content of a system message."""
    USER = 4
    """Content of a user message: the instruction."""
    ASSISTANT = 5
    """What an assistant message says: the output, with all that the template writes around its parts."""
    STOP = 6
    """What ends an assistant message and makes generation stop, such as `</s>`."""
    SEPARATOR = 7
    """Template text that closes a message without being a stop, such as a newline."""
    FIRST_HEADER = 8
    """The first header of an example."""
    LAST_ASSISTANT = 9
    """Content of the last assistant message of an example."""
    LAST_STOP = 10
    """The stop after the last assistant message."""
    STOP_SEPARATOR = 11
    """A separator that follows a stop."""
    TOOL = 12
    """Content of a tool message: what a tool answered, which the assistant reads."""
    TOOL_CALL = 13
    """Name and arguments of a call that an assistant message makes."""
    THOUGHT = 14
    """What an assistant message thinks before it answers."""
    LAST_TOOL_CALL = 15
    """A call of the last assistant message of an example."""
    LAST_THOUGHT = 16
    """Thought of the last assistant message of an example."""

    @property
    def label(self) -> str:
        """Lower-case name, as in `loss.weights.user` and `nll/user`."""
        return self.name.lower()

    @property
    def part_of(self) -> "TokenClass":
        """The next coarser class; a main class is its own."""
        return _PART_OF.get(self, self)

    @property
    def main(self) -> "TokenClass":
        """The main class this one is reported under; a main class is its own."""
        return self if self.part_of is self else self.part_of.main

    @property
    def shown(self) -> "TokenClass":
        """What a reader of an example sees: the main class, but thoughts and calls as such."""
        return next((c for c in (self, self.part_of) if c in _SHOWN), self.main)


_PART_OF: Final = {
    TokenClass.FIRST_HEADER: TokenClass.HEADER,
    TokenClass.LAST_ASSISTANT: TokenClass.ASSISTANT,
    TokenClass.LAST_STOP: TokenClass.STOP,
    TokenClass.STOP_SEPARATOR: TokenClass.SEPARATOR,
    TokenClass.TOOL_CALL: TokenClass.ASSISTANT,
    TokenClass.THOUGHT: TokenClass.ASSISTANT,
    TokenClass.LAST_TOOL_CALL: TokenClass.TOOL_CALL,
    TokenClass.LAST_THOUGHT: TokenClass.THOUGHT,
}
_SHOWN: Final = (TokenClass.TOOL_CALL, TokenClass.THOUGHT)

NUM_CLASSES: Final = len(TokenClass)
MAIN_CLASSES: Final = tuple(c for c in TokenClass if c.main is c)
MAIN_CLASS_TABLE: Final = np.array([c.main for c in TokenClass], np.uint8)
"""`MAIN_CLASS_TABLE[classes]` maps an array of classes to their main classes."""
MAIN_CLASS_TABLE.setflags(write=False)
SHOWN_CLASS_TABLE: Final = np.array([c.shown for c in TokenClass], np.uint8)
"""The same for `TokenClass.shown`."""
SHOWN_CLASS_TABLE.setflags(write=False)

OUTPUT_CLASSES: Final = tuple(c for c in TokenClass if c.main in (TokenClass.ASSISTANT, TokenClass.STOP))
"""Classes that a model writes when it answers; an example without any of them teaches no answer."""
INSTRUCTION_CLASSES: Final = (TokenClass.SYSTEM, TokenClass.USER, TokenClass.TOOL)
"""Classes of the contents that a model reads before it answers."""
