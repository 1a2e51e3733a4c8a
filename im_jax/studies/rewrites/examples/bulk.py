"""Rewrite examples and their prompts as tokens, thousands at a time, where each letter is a token of its own.

An example is encoded once by the way that all conversations take. What differs between examples of equal
length is letters, each at its place; so that one example is a mould, and the rest is filled into it by NumPy.
With the template `plain` and bytes, the rule ab -> c on `xaby` is

    <s>  a  b  >  c  :  x  a  b  y  \\n  x  c  y  </s>
"""

import string
from collections.abc import Sequence
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.config.rewrites_checks import check_prompt
from im_jax.data.encoding import EncodedExample, encode_conversation, encode_prompt
from im_jax.data.records.conversation import Conversation
from im_jax.data.templates import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.studies.rewrites.examples.source import conversation
from im_jax.studies.rewrites.examples.task import Examples, RewriteTask
from im_jax.token_classes import TokenClass

_COMPARED: Final = 16
"""Examples that are also encoded one by one."""


class Encoded(NamedTuple):
    """E examples as rows of T tokens; behind an example's end all is 0."""

    tokens: jt.Int32[np.ndarray, "E T"]
    classes: jt.UInt8[np.ndarray, "E T"]
    lengths: jt.Int64[np.ndarray, " E"]


_Places = Sequence[tuple[str, jt.Int64[np.ndarray, " _"]]]
"""Fields of `Examples`, and where their letters stand; a field may stand in several places."""


class _Mould(NamedTuple):
    tokens: jt.Int32[np.ndarray, " T"]
    classes: jt.UInt8[np.ndarray, " T"]
    instruction: _Places
    answer: _Places


class BulkEncoder:
    """Tokens of a task's examples."""

    def __init__(self, task: RewriteTask, template: Template, tokenizer: Tokenizer, prompt: str) -> None:
        check_prompt(prompt)
        self._task, self._template, self._tokenizer, self._prompt = task, template, tokenizer, prompt
        self._ids = np.array([tokenizer.encode(letter).ids[0] for letter in task.alphabet], np.int32)
        self._moulds: dict[int, _Mould] = {}
        self.longest = max(self.mould(length).tokens.size for length in task.answer_lengths)
        """T: tokens of the longest example."""

    def encode(self, items: jt.Int64[np.ndarray, " E"]) -> Encoded:
        """The examples with these numbers."""
        examples = self._task.examples(items)
        tokens = np.zeros((len(items), self.longest), np.int32)
        classes = np.zeros((len(items), self.longest), np.uint8)
        lengths = np.zeros(len(items), np.int64)
        for answer_length in np.unique(examples.answer_length).tolist():
            mould = self.mould(answer_length)
            here = np.flatnonzero(examples.answer_length == answer_length)
            block = self._filled(mould.tokens, [*mould.instruction, *mould.answer], examples, here)
            tokens[here, : block.shape[1]] = block
            classes[here, : block.shape[1]] = mould.classes
            lengths[here] = block.shape[1]
        return Encoded(tokens, classes, lengths)

    def encode_prompts(self, examples: Examples) -> jt.Int32[np.ndarray, "E P"]:
        """Tokens after which the model answers; right only where `prompts_agree`. All are of one length.

        The examples may be of another task, if its strings and sides have as many letters; ValueError if not.
        """
        length = self._task.answer_lengths[0]
        everything = np.arange(len(examples.rule))
        return self._filled(
            self._encode_prompt(self.sample(length)), self.mould(length).instruction, examples, everything
        )

    def _filled(
        self,
        tokens: jt.Int32[np.ndarray, " T"],
        places: _Places,
        examples: Examples,
        here: jt.Int64[np.ndarray, " F"],
    ) -> jt.Int32[np.ndarray, "F T"]:
        """Copies of a mould's tokens with the letters of some of the examples at their places."""
        block = np.tile(tokens, (len(here), 1))
        for name, places_of_field in places:
            letters = getattr(examples, name)[here]
            if name == "answer":  # filled up with 0 behind its length
                letters = letters[:, : len(places_of_field)]
            block[:, places_of_field] = self._ids[letters]
        return block

    def mould(self, answer_length: int) -> _Mould:
        """That of answers of some length."""
        if answer_length not in self._moulds:
            self._moulds[answer_length] = self._make_mould(answer_length)
        return self._moulds[answer_length]

    def sample(self, answer_length: int) -> Conversation:
        """A conversation of the right lengths, all of whose letters are the first."""
        task = self._task

        def letters(count: int) -> np.ndarray:
            return np.zeros((1, count), np.uint8)

        blank = Examples(
            rule=np.zeros(1, np.int64),
            left=letters(task.rules.left.shape[1]),
            right=letters(task.rules.right.shape[1]),
            input=letters(task.input_length),
            occurrences=np.zeros(1, np.int64),
            answer=letters(answer_length),
            answer_length=np.array([answer_length]),
        )
        return conversation(task, blank, 0, self._prompt, "sample")

    def _make_mould(self, answer_length: int) -> _Mould:
        sample = self.sample(answer_length)
        encoded = self._encode_whole(sample)
        starts = self._first_tokens(sample, encoded.classes)
        instruction: list[tuple[str, np.ndarray]] = []
        at = starts["user"]
        for literal, name, _, _ in string.Formatter().parse(self._prompt):
            at += len(self._tokenizer.encode(literal).ids)
            if name is not None:
                width = getattr(self._task, f"{name}_length")
                instruction.append((name, np.arange(at, at + width)))
                at += width
        answer = np.arange(starts["assistant"], starts["assistant"] + answer_length)
        return _Mould(encoded.tokens, encoded.classes, instruction, [("answer", answer)])

    def _first_tokens(self, sample: Conversation, classes: np.ndarray) -> dict[str, int]:
        """Number of the first token of the instruction and of the answer."""
        # Where an answer is empty there is nothing to fill in, and no such token.
        of_class = {"user": TokenClass.USER, "assistant": TokenClass.LAST_ASSISTANT}
        return {role: int(np.argmax(classes == value)) for role, value in of_class.items()}

    def _encode_whole(self, example: Conversation) -> EncodedExample:
        return encode_conversation(
            example, self._template, self._tokenizer, max_length=2**31 - 1, truncation="drop"
        )

    def _encode_prompt(self, example: Conversation) -> jt.Int32[np.ndarray, " P"]:
        return encode_prompt(example.messages[:1], self._template, self._tokenizer)

    def agrees(self) -> bool:
        """Whether the first examples come out as they do one by one; a template may write contents anew."""
        items = np.arange(min(_COMPARED, len(self._task)))
        encoded, examples = self.encode(items), self._task.examples(items)
        for row in range(len(items)):
            plain = self._encode_whole(conversation(self._task, examples, row, self._prompt, "compared"))
            end = encoded.lengths[row]
            same_tokens = np.array_equal(plain.tokens, encoded.tokens[row, :end])
            if not (same_tokens and np.array_equal(plain.classes, encoded.classes[row, :end])):
                return False
        return True

    def prompts_agree(self) -> bool:
        """Whether prompts begin as whole examples do, and the first come out as they do one by one."""
        length = self._task.answer_lengths[0]
        mould, prompt = self.mould(length), self._encode_prompt(self.sample(length))
        end = max(int(places[-1]) + 1 for _, places in mould.instruction if len(places))
        if not np.array_equal(prompt[:end], mould.tokens[:end]):
            return False
        examples = self._task.examples(np.arange(min(_COMPARED, len(self._task))))
        return all(
            np.array_equal(
                self._encode_prompt(conversation(self._task, examples, row, self._prompt, "compared")), tokens
            )
            for row, tokens in enumerate(self.encode_prompts(examples))
        )


def bulk_encoder(
    task: RewriteTask, template: Template, tokenizer: Tokenizer, prompt: str
) -> BulkEncoder | None:
    """An encoder, where each letter is one token whatever stands around it; else None."""
    if not (isinstance(tokenizer, ByteTokenizer) and task.alphabet.isascii()):
        return None
    encoder = BulkEncoder(task, template, tokenizer, prompt)
    return encoder if encoder.agrees() else None
