"""The tables of docs/rewrites.md, study.md and sweeps.md, made of the raw results beside this file.

    python docs/results/tables.py [rewrites|study|sweeps]

Raw results are `runs.csv` as `python -m im_jax.sweep` writes it, a run a line; study.csv joins several.
tests/test_results.py holds the pages to what this prints.
"""

import csv
import math
import pathlib
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

FOLDER: Final = pathlib.Path(__file__).parent
Run = dict[str, str]
Rows = Iterator[list[str]]

T: Final = {2: 12.706, 3: 4.303}
"""Student's t at 97.5 %, by the number of pairs."""


def read(name: str) -> list[Run]:
    """The runs of a file."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(runs: Sequence[Run], column: str, labels: Run) -> list[float]:
    """A column of those runs that have all labels, in the order of the file, which is that of seeds."""
    found = [run[column] for run in runs if labels.items() <= run.items()]
    return [float(text) for text in found if text]


def labels_of(runs: Sequence[Run], *axes: str) -> list[tuple[str, ...]]:
    """The combinations of labels that there are, in the order of the file."""
    return list(dict.fromkeys(tuple(run[axis] for axis in axes) for run in runs))


def mean(values: Sequence[float], digits: int = 2, sign: str = "") -> str:
    text = f"{statistics.mean(values):{sign}.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def spread(values: Sequence[float], digits: int = 2, sign: str = "") -> str:
    """Mean ± standard deviation, which is left out where it is 0 in so many digits, or unknown."""
    deviation = f"{statistics.stdev(values):.{digits}f}" if len(values) > 1 else "0"
    return mean(values, digits, sign) + (f" ± {deviation}" if float(deviation) else "")


def each(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


# docs/rewrites.md

UNSEEN: Final = "rewrites.unseen/accuracy"
TRAIN: Final = "rewrites.train_rules/accuracy"
COPIED: Final = "rewrites.unseen/errors/copied"
WRONG_STRING: Final = "rewrites.unseen/errors/wrong_string"


def by_rules() -> Rows:
    runs = read("rewrites_rules")
    for (rules,) in labels_of(runs, "rules"):
        unseen, train, copied, wrong = (
            numbers(runs, column, {"rules": rules}) for column in (UNSEEN, TRAIN, COPIED, WRONG_STRING)
        )
        others = [1 - sum(parts) for parts in zip(unseen, copied, wrong, strict=True)]
        yield [rules, spread(unseen), each(unseen), *map(mean, (train, copied, wrong, others))]


def rules_against_examples() -> Rows:
    runs = read("rewrites_tradeoff")
    columns = sorted({int(run["examples"]) for run in runs})
    for rules in sorted({int(run["rules"]) for run in runs}, reverse=True):
        yield [str(rules), *(_stuck(runs, str(rules), str(examples)) for examples in columns)]


def _stuck(runs: Sequence[Run], rules: str, examples: str) -> str:
    """Accuracy of each seed; in italics where a run has 0.10 or less on its own rules."""
    unseen, train = (
        numbers(runs, column, {"rules": rules, "examples": examples}) for column in (UNSEEN, TRAIN)
    )
    shown = [f"*{u:.2f}*" if t <= 0.1 else f"{u:.2f}" for u, t in zip(unseen, train, strict=True)]
    return ", ".join(shown)


def no_ops() -> Rows:
    runs = read("rewrites_no_ops")
    changed, unchanged = "rewrites.unseen/has_op", "rewrites.unseen/no_op"
    for rules, share in labels_of(runs, "rules", "no-op share"):
        here = {"rules": rules, "no-op share": share}
        columns = changed, unchanged, "rewrites.train_rules/has_op"
        copying = mean(numbers(runs, "rewrites.unseen/copying", here))
        yield [rules, share, *(spread(numbers(runs, column, here)) for column in columns), copying]


def long_tail() -> Rows:
    runs = read("rewrites_long_tail")
    for rules, alpha in labels_of(runs, "rules", "alpha"):
        effective, unseen, train = (
            numbers(runs, column, {"rules": rules, "alpha": alpha})
            for column in ("rewrites.effective_rules", UNSEEN, TRAIN)
        )
        yield [rules, alpha, mean(effective, 0), spread(unseen), each(unseen), mean(train)]


FAMILIES: Final = {"one": "one (`aaabbb`)", "two": "two (and `abcabc`)", "three": "three (and `abccba`)"}


def families() -> Rows:
    runs = read("rewrites_families")
    for (name,) in labels_of(runs, "families"):
        columns = (numbers(runs, column, {"families": name}) for column in (UNSEEN, TRAIN, WRONG_STRING))
        yield [FAMILIES[name], *map(each, columns)]


def occurrences() -> Rows:
    runs = read("rewrites_occurrences")
    columns = *(f"rewrites.unseen/occurrences_{n}" for n in (1, 2, 3, 4)), UNSEEN, TRAIN
    for rules, trained in labels_of(runs, "rules", "trained with"):
        cells = (numbers(runs, column, {"rules": rules, "trained with": trained}) for column in columns)
        yield [rules, trained.replace(",", ", "), *map(spread, cells)]


def lengths() -> Rows:
    runs = read("rewrites_lengths")
    columns = [letters for (letters,) in labels_of(runs, "letters")]
    for (rules,) in labels_of(runs, "rules"):
        yield [
            rules,
            *(each(numbers(runs, UNSEEN, {"rules": rules, "letters": letters})) for letters in columns),
        ]


def im_and_it() -> Rows:
    runs = read("rewrites_im_and_it")
    for (rules,) in labels_of(runs, "rules"):
        unseen, train = (
            [numbers(runs, column, {"rules": rules, "policy": policy}) for policy in ("im", "it")]
            for column in (UNSEEN, TRAIN)
        )
        differences = [im - it for im, it in zip(*unseen, strict=True)]
        yield [rules, *map(spread, unseen), spread(differences, sign="+"), *map(spread, train)]


def pretrained() -> Rows:
    runs = read("rewrites_pretrained")
    columns = "rewrites.unseen/has_op", "rewrites.unseen/no_op", "rewrites.train_rules/has_op"
    for rules, trained in labels_of(runs, "rules", "trained"):
        cells = (numbers(runs, column, {"rules": rules, "trained": trained}) for column in columns)
        yield [rules, trained, *map(mean, cells)]


def programs() -> Rows:
    runs = read("rewrites_programs")
    kind = "rewrites.programs/random"
    columns = [column for column in runs[0] if column.startswith(f"{kind}/steps_")]
    for (rules,) in labels_of(runs, "rules"):
        unseen, single = (
            spread(numbers(runs, column, {"rules": rules})) for column in (UNSEEN, f"{kind}/step_accuracy")
        )
        yield [rules, unseen, single, *(mean(numbers(runs, column, {"rules": rules})) for column in columns)]


# docs/study.md

TOKEN: Final = "heldout.nll/assistant"
EXAMPLE: Final = "overfitting.output_loss/heldout"
OWN: Final = "overfitting.output_loss/train"
GAP: Final = "overfitting.output_gap"
INSTRUCTIONS: Final = "heldout.nll/user"
RATIOS: Final = ("0.5", "2", "5")
STARTS: Final = ("pretrained", "stories260K")
TASKS: Final = ("arc_easy", "openbookqa", "piqa", "winogrande")


class Study:
    """The runs of one start, ratio and number of examples, by method."""

    def __init__(self, start: str, ratio: str, examples: str = "300") -> None:
        wanted = {"start": start, "ratio": ratio, "examples": examples}
        self._runs = [run for run in read("study") if wanted.items() <= run.items()]

    def of(self, method: str, column: str) -> list[float]:
        return numbers(self._runs, column, {"method": method})

    def on_the_way(self, method: str) -> list[list[float]]:
        """Held-out losses by token of each seed, at each step that was measured."""
        texts = [run["held-out nll/assistant by step"] for run in self._runs if run["method"] == method]
        return [[float(part.split(":")[1]) for part in text.split()] for text in texts]

    def minus(self, first: str, second: str, column: str) -> str:
        return interval(self.of(first, column), self.of(second, column))


def interval(first: Sequence[float], second: Sequence[float]) -> str:
    """The mean of the differences, seed by seed, and half of its 95 % interval."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return f"{mean(differences, 3, '+')} ± {half_interval(differences):.3f}"


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean, by Student's t."""
    return T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))


def by_ratio() -> Rows:
    for start in STARTS:
        for ratio in RATIOS:
            for method in ("it", "im"):
                found = Study(start, ratio)
                begins = method == "it"
                cells = (spread(found.of(method, column), 3) for column in (TOKEN, EXAMPLE, OWN))
                head = f"`{start}`" if begins and ratio == RATIOS[0] else "", ratio if begins else ""
                yield [*head, method.upper(), *cells, mean(found.of(method, INSTRUCTIONS), 3)]


def it_minus_im() -> Rows:
    for start in STARTS:
        for ratio in RATIOS:
            found, head = Study(start, ratio), f"`{start}`" if ratio == RATIOS[0] else ""
            columns = (TOKEN, EXAMPLE, OWN, GAP)
            yield [head, ratio, *(found.minus("it", "im", column) for column in columns)]


def stopped_early() -> Rows:
    for ratio in RATIOS:
        found = Study("pretrained", ratio)
        best = [min(losses) for losses in found.on_the_way("it")]
        end = [losses[-1] for losses in found.on_the_way("im")]
        yield [ratio, found.minus("it", "im", TOKEN), interval(best, end)]


def benchmarks() -> Rows:
    columns = [f"benchmarks.{task}/answer_bits_per_byte" for task in TASKS]
    before = (numbers(read("study"), column, {"method": "before"}) for column in columns)
    yield ["before tuning", *(mean(values, 3) for values in before)]
    for ratio in RATIOS:
        found = Study("pretrained", ratio)
        both = (", ".join(mean(found.of(m, column), 3) for m in ("it", "im")) for column in columns)
        yield [f"ratio {ratio}: IT, IM", *both]
        yield ["IT - IM", *(found.minus("it", "im", column) for column in columns)]


METHODS: Final = {
    "im": "IM",
    "prompt_0.3": "weight 0.3 on instructions",
    "prompt_0.1": "weight 0.1 on instructions",
    "im_neftune": "IM and NEFTune, alpha 5",
    "neftune": "IT and NEFTune, alpha 5",
    "kl_0.1": "IT and KL of weight 0.1",
}


def methods() -> Rows:
    found = Study("pretrained", "5")
    for method, title in METHODS.items():
        yield [title, *(found.minus(method, "it", column) for column in (TOKEN, EXAMPLE, OWN))]


def by_examples() -> Rows:
    for examples in ("75", "300", "600"):
        found = Study("pretrained", "5", examples)
        yield [examples, *(found.minus("im", "it", column) for column in (TOKEN, EXAMPLE, OWN))]


# docs/sweeps.md


def im_and_it_from_scratch() -> Rows:
    runs = read("im_and_it")
    for (examples,) in labels_of(runs, "examples"):
        im, it = (numbers(runs, TOKEN, {"policy": policy, "examples": examples}) for policy in ("im", "it"))
        differences = [a - b for a, b in zip(im, it, strict=True)]
        middle, half = statistics.mean(differences), half_interval(differences)
        ends = f"({middle - half:+.2f} to {middle + half:+.2f})"
        yield [examples, spread(im), spread(it), f"{mean(differences, sign='+')} {ends}"]


PAGES: Final[dict[str, tuple[Callable[[], Rows], ...]]] = {
    "rewrites": (
        *(by_rules, rules_against_examples, no_ops, long_tail, families),
        *(occurrences, lengths, im_and_it, pretrained, programs),
    ),
    "study": (by_ratio, it_minus_im, stopped_early, benchmarks, methods, by_examples),
    "sweeps": (im_and_it_from_scratch,),
}
"""By page, what makes its tables."""


def lines(table: Callable[[], Rows]) -> list[str]:
    """The rows of a table in Markdown, without its heading."""
    return ["| " + " | ".join(row) + " |" for row in table()]


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - PAGES.keys():
        sys.exit(f"no tables of {', '.join(unknown)}; there are those of {', '.join(PAGES)}")
    for page in sys.argv[1:] or PAGES:
        for table in PAGES[page]:
            print(f"\n{page}: {table.__name__}\n", *lines(table), sep="\n")
