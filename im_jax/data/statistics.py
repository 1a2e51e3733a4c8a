"""What a data set holds and what was lost on the way: the start-up check, and totals for a reader."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.config import DataConfig
from im_jax.data.dataset import Dataset
from im_jax.data.records.conversation import Conversation
from im_jax.errors import DataError
from im_jax.text import counted, in_one_line
from im_jax.token_classes import INSTRUCTION_CLASSES, MAIN_CLASSES, NUM_CLASSES, OUTPUT_CLASSES, TokenClass

MESSAGES: Final = 1000
"""Messages about malformed records that are kept, so that memory does not grow with a bad source."""
_CHUNK: Final = 1 << 16
_NAMED: Final = 8
_NAME_SHOWN: Final = 60


@dataclass
class DataReport:
    """Counts over a source. Every example of the source is in exactly one of the first six counts."""

    malformed: int = 0
    """Records that were left out by `data.on_bad_example=skip`."""
    left_out_by_turns: Counter[str] = field(default_factory=Counter)
    """Records that a choice of `data.turns` leaves out, by reason."""
    too_long: int = 0
    """Left out by `data.truncation=drop`."""
    without_output: int = 0
    """Left out by `data.drop_without_output`."""
    without_target: int = 0
    """Kept, but no token of theirs carries loss."""
    trained: int = 0
    """Kept, with at least one token that carries loss."""
    truncated: int = 0
    """Kept, but cut."""
    stop_trained: int = 0
    """Kept, with a stop token after the last answer that carries loss."""
    special_in_content: int = 0
    """Special tokens, such as `</s>`, written inside messages."""
    unread: Counter[str] = field(default_factory=Counter)
    """Records by field whose text nothing reads; all records but malformed ones."""
    turn_choices: Counter[str] = field(default_factory=Counter)
    """Usable records by what choices of `data.turns` did with them: see `records.turns.DONE`."""
    notes: Counter[str] = field(default_factory=Counter)
    """Examples by what the chat template does that a user should know: see `templates.Rendered.notes`."""
    tokens: jt.Int64[np.ndarray, " C"] = field(default_factory=lambda: np.zeros(NUM_CLASSES, np.int64))
    """Kept tokens by class."""
    instruction_words: int = 0
    output_words: int = 0
    """Words between spaces, one more per message, as the paper counts them; of kept examples."""
    skipped: list[str] = field(default_factory=list)
    """Messages about malformed records, in order: no more than the first `MESSAGES`."""
    left_out: dict[str, Counter[int]] = field(default_factory=dict)
    """Examples that were too long or without output, by what they measured: see `measures`."""

    left_out_by_recipe: Counter[str] = field(default_factory=Counter)
    """Records that are no part of the training set that a recipe names, by reason; in no other count."""

    @property
    def kept(self) -> int:
        """Examples that are trained or evaluated on."""
        return self.trained + self.without_target

    @property
    def total(self) -> int:
        """Records in the source."""
        left_out = self.left_out_by_turns.total() + self.too_long + self.without_output
        return self.malformed + left_out + self.kept

    def leave_out(self, measured: Mapping[str, int]) -> None:
        """Remember how long an example was that is not kept, which a reader of the data asks for first."""
        for name, value in measured.items():
            self.left_out.setdefault(name, Counter())[value] += 1

    def count_targets(self, dataset: Dataset, class_weights: jt.Float32[np.ndarray, " C"]) -> None:
        """Count which of the kept examples a policy trains, from their histograms alone."""
        carries_loss = class_weights > 0
        for start in range(0, len(dataset), _CHUNK):
            targets = dataset.targets(np.arange(start, min(start + _CHUNK, len(dataset))))
            trained = int(np.count_nonzero(targets[:, carries_loss].any(axis=1)))
            self.trained += trained
            self.without_target += len(targets) - trained
            if carries_loss[TokenClass.LAST_STOP]:
                self.stop_trained += int(np.count_nonzero(targets[:, TokenClass.LAST_STOP]))

    def check(self, data: DataConfig, *, require_trained_stop: bool = True) -> None:
        """Stop a run whose data would not train what its user thinks.

        Raises:
            DataError: nothing is left to train on; more than `data.max_lost_fraction` of the examples
                was lost; or no stop token would be trained.
        """
        cut = self.truncated or self.too_long or self.without_output
        lengths = f"data.max_length={data.max_length} or data.truncation={data.truncation} may be why"
        hint = lengths if cut else "look at them with python -m im_jax.inspect_loss"
        examples = counted(self.total, "example")
        if not self.trained:
            raise DataError(f"none of {examples} has a token that carries loss; {hint}")
        lost = self.total - self.trained
        if lost > data.max_lost_fraction * self.total:
            raise DataError(
                f"{lost} of {examples} would not be trained on ({self.losses()}), more than "
                f"data.max_lost_fraction={data.max_lost_fraction}; {hint}; if it is meant, raise the fraction"
            )
        if require_trained_stop and not self.stop_trained:
            raise DataError(
                "no example has a stop token that carries loss, so the model would never learn to stop; "
                f"{hint}; if it is meant, set loss.require_trained_stop=false"
            )

    def losses(self) -> str:
        """For a reader: how many examples are not trained on, and why; empty: none."""
        counts = {
            "malformed": self.malformed,
            **{f"{reason} (data.turns)": n for reason, n in self.left_out_by_turns.items()},
            "too long": self.too_long,
            "without output": self.without_output,
            "without a token that carries loss": self.without_target,
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

    def summary(self, name: str) -> str:
        """A few lines for a reader, under a name."""
        lines = [f"{name}: {counted(self.kept, 'example')}, {counted(int(self.tokens.sum()), 'token')}"]
        if losses := self.losses():
            lines.append(f"  of {self.total:,} in the source: {losses}")
        if self.truncated:
            lines.append(f"  truncated: {self.truncated:,}")
        if self.special_in_content:
            lines.append(f"  special tokens written inside messages: {self.special_in_content:,}")
        if self.unread:
            lines.append(f"  text that nothing reads: {self.unread_text()}")
        if self.turn_choices:
            lines.append(f"  turns: {self.turns_text()}")
        lines += [f"  note: {text}" for text in self.notes_text()]
        if self.left_out_by_recipe:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out_by_recipe.items())
            lines.append(f"  left out by the recipe: {reasons}")
        lines += [f"  skipped {message}" for message in self.skipped[:5]]
        if self.malformed > 5:
            lines.append(f"  ... and {self.malformed - 5:,} more skipped")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, tokens and share by main class, instruction/output ratio in words and tokens."""
        by_class = {c.label: self.class_tokens(c) for c in MAIN_CLASSES if self.class_tokens(c)}
        total = sum(by_class.values())
        output_tokens = sum(self.class_tokens(c) for c in OUTPUT_CLASSES if c.main is c)
        instruction_tokens = sum(self.class_tokens(c) for c in INSTRUCTION_CLASSES)
        return {
            "examples": self.kept,
            "in_source": self.total,
            "malformed": self.malformed,
            "left_out_by_turns": dict(self.left_out_by_turns),
            "too_long": self.too_long,
            "without_output": self.without_output,
            "without_target": self.without_target,
            "truncated": self.truncated,
            "special_in_content": self.special_in_content,
            "unread": dict(self.unread),
            "turn_choices": dict(self.turn_choices),
            "notes": dict(self.notes),
            "left_out_by_recipe": dict(self.left_out_by_recipe),
            "tokens": by_class,
            "share": {label: round(count / total, 4) for label, count in by_class.items()},
            "instruction_output_ratio_words": length_ratio(self.instruction_words, self.output_words),
            "instruction_output_ratio_tokens": length_ratio(instruction_tokens, output_tokens),
        }

    def unread_text(self) -> str:
        """Fields whose text nothing reads, the most frequent first, each with its number of examples."""
        named = [
            f"{in_one_line(name)[:_NAME_SHOWN]} in {count:,}"
            for name, count in self.unread.most_common(_NAMED)
        ]
        return ", ".join([*named, *(["..."] if len(self.unread) > _NAMED else [])])

    def turns_text(self) -> str:
        """What choices of `data.turns` did, the most frequent first, each with its number of examples."""
        return ", ".join(f"{done} in {count:,}" for done, count in self.turn_choices.most_common())

    def notes_text(self) -> list[str]:
        """What the chat template does, the most frequent first, each with its number of examples."""
        return [
            f"{in_one_line(text)} ({counted(n, 'example')})" for text, n in self.notes.most_common(_NAMED)
        ]

    def class_tokens(self, main: TokenClass) -> int:
        """Kept tokens of a main class, its sub-class included."""
        return sum(int(self.tokens[c]) for c in TokenClass if c.main is main)


def measures(conversation: Conversation, full_length: int) -> dict[str, int]:
    """How long a whole example is, before it is truncated, whatever becomes of it.

    `instruction_words` and `output_words`: words between white space and one more for each message, as
    Shi et al. (2024) count them in their Table 5, whose sets have text alone; thoughts, and names and
    arguments of calls, are output too. `turns`: messages of the assistant. `full_length`: tokens.
    """
    words = Counter(full_length=full_length, instruction_words=0, output_words=0, turns=0)
    for message in conversation.messages:
        is_output = message.role == "assistant"
        calls = [text for call in message.tool_calls for text in (call.name, call.arguments)]
        count = sum(len(text.split()) for text in (message.text, message.thought, *calls))
        words["output_words" if is_output else "instruction_words"] += count + 1
        words["turns"] += is_output
    return dict(words)


def length_ratio(numerator: float, denominator: float) -> float | None:
    """A ratio of lengths, to four decimals; None where there is nothing to divide by."""
    return round(numerator / denominator, 4) if denominator else None
