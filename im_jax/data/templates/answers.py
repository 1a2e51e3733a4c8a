"""Where an answer begins and where it stops.

An answer is what the model has to write by itself. It begins where the generation prompt ends: what a
template writes before an answer in training, and not in the generation prompt, is the answer's, or the model
would never learn to write it.

    training             <|assistant|>\\n<think>\\n\\n</think>\\n\\n4<|end|>
    generation prompt    <|assistant|>\\n
    answer                             <think>\\n\\n</think>\\n\\n4

A thought in a content may begin with a mark that the generation prompt ends with; then the answer begins
behind the mark:

    training             <|assistant|>\\n<think>\\nTwo and two.\\n</think>\\n\\n4<|end|>
    generation prompt    <|assistant|>\\n<think>
    answer                                    \\nTwo and two.\\n</think>\\n\\n4

It stops with what closes it. Behind a call or a thought the template may write more, such as `</tool_call>`;
there the stop is the one of plain answers, a special token, or a mark that is all there is.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from im_jax.data.records.conversation import Message
from im_jax.data.templates.rendering import Piece
from im_jax.token_classes import TokenClass

_REMEMBERED: Final = 1024
_SHOWN: Final = 40
_OPEN_MARK: Final = re.compile(r"[<\[][^<>\[\]]*\Z")
"""The beginning of a mark such as `<think>`, which two texts may share without sharing the mark."""
_MARK: Final = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")

Prompt = Callable[[], str | None]
"""What a prompt has behind the last part of its messages; None: there is no such prompt."""


class Answers:
    """What is known of the answers of one template."""

    def __init__(self, special: Iterable[str]) -> None:
        self._special = tuple(special)
        self._stops: set[str] = set()
        self._begins: dict[tuple[str, str, str, str], tuple[int, str]] = {}

    def learn(self, pieces: Sequence[Piece]) -> None:
        """Take the stops of plain answers for those of others."""
        self._stops |= {piece.text.strip() for piece in pieces if piece.token_class is TokenClass.STOP} - {""}

    def begin(
        self, before: Sequence[Message], closing: str, header: str, mark: str, prompt: Prompt
    ) -> tuple[int, str]:
        """Characters of a header and a mark that the generation prompt has too, and a note where it differs.

        Args:
            before: the messages before the answer.
            closing: what stands between the last part of these messages and the header.
            header: what stands before the first part of the answer.
            mark: what the content has before a thought; empty where it has none.
            prompt: of these messages.
        """
        role = before[-1].role if before else ""
        key = role, closing, header, mark
        if key not in self._begins:
            if len(self._begins) >= _REMEMBERED:
                self._begins.clear()
            self._begins[key] = self._begin(prompt(), closing, header, mark)
        return self._begins[key]

    def _begin(self, tail: str | None, closing: str, header: str, mark: str) -> tuple[int, str]:
        if tail is None or not tail.startswith(closing):
            return len(header), ""
        prompted, written = tail[len(closing) :], header + mark
        pairs = zip(prompted, written, strict=False)
        shorter = min(len(prompted), len(written))
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
        if common < shorter:
            common = len(_OPEN_MARK.sub("", written[:common]))
        more, missing = prompted[common:], header[common:]
        notes = []
        if more:
            notes.append(f"the generation prompt goes on with {_shown(more)}, which training texts lack")
        if missing.strip():
            notes.append(
                f"answers begin with {_shown(missing)}, which the generation prompt lacks: it is trained"
            )
        return common, "; ".join(notes)

    def stop(self, closing: str, after_content: bool) -> tuple[int, int] | None:
        """Where the stop is in what closes an answer; None: nowhere."""
        text = closing.rstrip()
        if not text:
            return None
        if after_content:
            return 0, len(text)
        known = [len(stop) for stop in (*self._stops, *self._special) if stop and text.endswith(stop)]
        if not known and not _MARK.fullmatch(text):
            return None
        return len(text) - max(known, default=len(text)), len(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
