"""Figures as a reader sees them, and the rows of the tables that both text and page have."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from im_jax.data.report.build import Report
from im_jax.data.report.counts import Counts
from im_jax.data.report.measure import Measured
from im_jax.text import counted, in_one_line
from im_jax.token_classes import MAIN_CLASSES, TokenClass

MEASURED: Final = {
    "instruction_words": "instruction, words",
    "output_words": "output, words",
    "instruction_tokens": "instruction, tokens",
    "output_tokens": "output, tokens",
    "full_length": "example, tokens",
    "turns": "answers",
}
"""What the table of lengths has, by the name in `Measured`."""
COUNTED: Final = (
    "Words: between white space, one more per message, of whole messages, also of examples that are left "
    "out, as in Table 5 of Shi et al. (2024). Tokens of instruction and output: what is kept of them; a stop "
    "is output. Example: whole, before truncation. sd: of these numbers themselves, divided by n."
)


def number(value: float | None, digits: int = 2) -> str:
    """`1,234`, `43.83`, or `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def half(value: float | None) -> str:
    """A median: with its half if it has one."""
    return "-" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def share(part: int, of: int) -> str:
    """`4.3 %`; below 0.1 % what it is at most."""
    if not of:
        return "-"
    percent = 100 * part / of
    return "< 0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def ratio(value: float | None) -> str:
    """Four digits."""
    return "-" if value is None else f"{value:.4f}" if value < 10 else f"{value:.2f}"


def inverse(value: float | None) -> float | None:
    """1 by a ratio."""
    return 1 / value if value else None


def length_row(counts: Counts) -> list[str]:
    """Under `mean`, `sd`, `median`, `95 %`, `longest`."""
    return [
        number(counts.mean),
        number(counts.sd),
        half(counts.median),
        number(counts.percentile(95)),
        number(counts.largest),
    ]


class ClassRow(NamedTuple):
    """A main class, or one of the sub-classes that it has tokens of, if these are several."""

    token_class: TokenClass
    part: bool
    """Whether it is a part of the main class before it."""
    tokens: int
    trained: list[int]
    """By each policy of the report."""

    @property
    def name(self) -> str:
        """Its label, further in if it is a part; of a main class beside its sub-classes `other header`."""
        is_rest = self.part and self.token_class.main is self.token_class
        return ("  " if self.part else "") + ("other " if is_rest else "") + self.token_class.label


def class_rows(report: Report) -> Iterator[ClassRow]:
    """Every class with tokens, each main class with its parts after it."""
    for main in MAIN_CLASSES:
        members = [c for c in TokenClass if c.main is main and report.measured.tokens[c]]
        if members:
            yield _class_row(report, main, members, part=False)
        if len(members) > 1:
            yield from (_class_row(report, member, [member], part=True) for member in members)


def _class_row(report: Report, shown: TokenClass, members: list[TokenClass], part: bool) -> ClassRow:
    measured = report.measured
    trained = [sum(int(measured.targets[c]) for c in members if p.weights[c] > 0) for p in report.policies]
    return ClassRow(shown, part, sum(int(measured.tokens[c]) for c in members), trained)


def fates(report: Report) -> list[tuple[str, str, int]]:
    """Key, words and number of what became of the records of the source; they add up to all of them."""
    measured, counts = report.measured, report.counts
    rows = [
        ("whole", "kept whole", measured.whole),
        ("instruction_cut", "kept, instruction cut", measured.instruction_cut),
        ("answer_cut", "kept, answer cut", measured.answer_cut),
        ("answer_lost", "kept, answer lost", measured.answer_lost),
        ("without_output", "dropped: answer lost", counts.without_output),
        ("too_long", "dropped: too long", counts.too_long),
        ("unused", "kept, not used", report.unused),
        ("malformed", "dropped: malformed", counts.malformed),
        ("by_turns", "dropped: by data.turns", counts.left_out_by_turns.total()),
    ]
    return rows


def same_rows(report: Report) -> list[tuple[str, int]]:
    """Words and number of each kind of examples that are the same."""
    same = report.same
    rows = [
        ("repeated examples", same.twice.count),
        ("  of another source", same.across.count),
        ("other answer to the same prompt", same.prompts.count),
        ("nearly the same prompt", same.near.count),
        ("held-out examples", report.heldout.examples if report.heldout else 0),
        ("  trained on too", same.leaks.count),
        ("  prompt trained on too", same.prompt_leaks.count),
        ("  nearly the prompt", same.near_leaks.count),
        ("left out by data.deduplicate", same.removed.total()),
    ]
    always = ("repeated examples", "other answer to the same prompt", "held-out examples", "  trained on too")
    return [(words, count) for words, count in rows if count or words in always]


def source_rows(report: Report) -> list[list[str]]:
    """The rows under `SOURCE_HEADER`."""
    return [
        [
            in_one_line(name),
            number(len(m.full_length)),
            number(m.instruction_words.mean, 1),
            number(m.output_words.mean, 1),
            ratio(m.ratio_in_words),
            number(int(m.tokens.sum())),
            share(m.full_length.above(report.max_length), len(m.full_length)),
        ]
        for name, m in report.sources.items()
    ]


SOURCE_HEADER: Final = ("", "examples", "instr.", "output", "ratio", "tokens", "too long")


def findings(report: Report) -> list[str]:
    """What a user should know before training, in sentences."""
    measured, counts = report.measured, report.counts
    total = counts.total
    found = []
    if report.refusal:
        found.append(f"Training would stop: {report.refusal}.")
    if report.too_long:
        lost = measured.answer_lost + counts.without_output
        what = {
            "lose their whole answer": lost,
            "lose the end of it": measured.answer_cut,
            "lose only text before it": measured.instruction_cut,
            "are dropped": counts.too_long,
        }
        if not lost and measured.answer_cut:
            what = {"lose the end of their answer" if "end" in k else k: n for k, n in what.items()}
        said = ", ".join(f"{number:,} {words}" for words, number in what.items() if number)
        found.append(
            f"{counted(report.too_long, 'example')} ({share(report.too_long, report.readable)}) of more than "
            f"max_length={report.max_length:,} tokens: {said}."
        )
    if counts.malformed:
        found.append(f"{counted(counts.malformed, 'record')} of {total:,} cannot be used: see below.")
    if counts.left_out_by_turns:
        found.append(f"Records left out by data.turns: {_listed(counts.left_out_by_turns)}.")
    if counts.turn_choices:
        found.append(f"Turns (data.turns): {counts.turns_text()}.")
    if repeated := report.same.twice.count + report.same.across.count:
        found.append(f"{counted(repeated, 'training example')} repeated, but for case and white space.")
    if leaks := report.same.leaks.count:
        found.append(
            f"{counted(leaks, 'training example')} {'is' if leaks == 1 else 'are'} held out too, so the "
            "held-out loss is lower than on new ones."
        )
    if counts.without_target:
        found.append(
            f"{counted(counts.without_target, 'example')} kept without a token that carries loss under "
            f"{report.policies[0].name}."
        )
    if counts.special_in_content:
        found.append(
            f"{counted(counts.special_in_content, 'special token')} written inside messages, read as such."
        )
    if counts.left_out_by_recipe:
        reasons = _listed(counts.left_out_by_recipe)
        found.append(f"Records that are no part of the set by its recipe: {reasons}.")
    if counts.unread:
        found.append(f"Text that nothing reads: {counts.unread_text()}.")
    return found


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {in_one_line(reason)}" for reason, count in counts.items())


def trained_by(report: Report, measured: Measured) -> list[tuple[str, int, str]]:
    """Of each policy: its name, the tokens that carry loss, and their share."""
    everything = int(measured.tokens.sum())
    return [(p.name, p.trained(measured), share(p.trained(measured), everything)) for p in report.policies]
