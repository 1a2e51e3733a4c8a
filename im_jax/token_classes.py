"""What a token is. Every token of every example has one class; a loss policy is a weight per class.

The eight main classes are what users see, weight and read metrics by. Four of them have a finer
sub-class for tokens that some policy must tell apart:

    main        sub-class        why it is told apart
    header      first_header     the released Instruction Modelling code masks only the first header
    assistant   last_assistant   the `last_turn` policy trains only the last answer
    stop        last_stop        the same
    separator   stop_separator   the released instruction tuning trains the newline after a stop token

Reports show a sub-class under its main class; a weight set for a main class holds for its sub-class
unless that has a weight of its own.
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
    """Content of an assistant message: the output."""
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

    @property
    def label(self) -> str:
        """Lower-case name, as in `loss.weights.user` and `nll/user`."""
        return self.name.lower()

    @property
    def main(self) -> "TokenClass":
        """The main class this one is reported under; a main class is its own."""
        return _MAIN_OF_SUBCLASS.get(self, self)


_MAIN_OF_SUBCLASS: Final = {
    TokenClass.FIRST_HEADER: TokenClass.HEADER,
    TokenClass.LAST_ASSISTANT: TokenClass.ASSISTANT,
    TokenClass.LAST_STOP: TokenClass.STOP,
    TokenClass.STOP_SEPARATOR: TokenClass.SEPARATOR,
}

NUM_CLASSES: Final = len(TokenClass)
MAIN_CLASSES: Final = tuple(c for c in TokenClass if c.main is c)
MAIN_CLASS_TABLE: Final = np.array([c.main for c in TokenClass], np.uint8)
"""`MAIN_CLASS_TABLE[classes]` maps an array of classes to their main classes."""
MAIN_CLASS_TABLE.setflags(write=False)

OUTPUT_CLASSES: Final = (
    TokenClass.ASSISTANT,
    TokenClass.LAST_ASSISTANT,
    TokenClass.STOP,
    TokenClass.LAST_STOP,
)
"""Classes that a model writes when it answers; an example without any of them teaches no answer."""
