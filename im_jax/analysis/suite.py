"""The overfitting suite: everything that is measured of one run."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from im_jax.activity import Activity, silent
from im_jax.analysis.answers import Answered, answers_to, copied, extracted
from im_jax.analysis.bleu import Bleu, bleu, self_bleu
from im_jax.analysis.forgetting import text_losses
from im_jax.analysis.gradients import ClassGradients, Differentiated, class_gradients, weighted_rows
from im_jax.analysis.losses import Losses, losses_of
from im_jax.analysis.opened import AnalysedRun, Examples
from im_jax.analysis.texts import distinct, output_grams
from im_jax.data.dataset import ExampleView
from im_jax.errors import UserError
from im_jax.evaluation.likelihood import Likelihoods
from im_jax.models.loaded import Model
from im_jax.training.trainable import trained_parts

SETS: Final = ("train", "heldout")
_ALIKE: Final = 100
"""Answers that are compared with each other, at most: the work grows with their square."""


@dataclass(frozen=True)
class Options:
    """What is asked of every run."""

    seed: int = 0
    answers: int = 100
    """Examples of each set that are answered, at most; 0: none."""
    max_new_tokens: int = 256
    ngram: int = 5
    """Tokens of an n-gram that counts as copied."""
    prefix: int = 8
    """Tokens of an output that are given before its rest is to follow verbatim."""
    lengths: tuple[int, ...] = (8, 16, 32)
    """Tokens that must follow."""
    gradient_examples: int = 32
    """Of each set; 0: no gradients."""
    rows_at_a_time: int = 4
    learning_rate: float | None = None
    """Of the step whose effect is told; None: the run's own."""
    paragraphs: tuple[str, ...] = ()
    """Of plain text; none: nothing is said of forgetting."""


@dataclass(frozen=True)
class AtStep:
    """Losses of the examples at a checkpoint."""

    step: int
    """0: before the first."""
    epoch: float
    train: Losses
    heldout: Losses

    def of(self, name: str) -> Losses:
        """Those of `train` or `heldout`."""
        return self.train if name == "train" else self.heldout


@dataclass(frozen=True)
class AnswersOf:
    """What greedy answers to the examples of one set show."""

    answers: list[Answered]
    bleu: Bleu
    copied: dict[str, list[tuple[int, int]]]
    extracted: dict[int, list[tuple[int, bool]]]
    distinct: dict[int, float]
    self_bleu: float
    reference_distinct: dict[int, float]
    reference_self_bleu: float


@dataclass(frozen=True)
class TextLosses:
    """NLL of paragraphs of plain text, in nats, for the model and for what it started from."""

    nll: np.ndarray
    start: np.ndarray
    tokens: np.ndarray


@dataclass
class RunResult:
    """All that was measured of a run."""

    run: AnalysedRun
    steps: list[AtStep]
    answers: dict[str, AnswersOf] = field(default_factory=dict)
    gradients: ClassGradients | None = None
    text: TextLosses | None = None
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    @property
    def newest(self) -> AtStep:
        """At the newest checkpoint."""
        return self.steps[-1]

    @property
    def start(self) -> AtStep | None:
        """Before the first step, if that is known."""
        return self.steps[0] if self.steps[0].step == 0 else None

    @property
    def policy(self) -> str:
        """Of the loss that it was trained with."""
        return self.run.config.loss.policy


def analyse(run: AnalysedRun, options: Options, doing: Activity = silent) -> RunResult:
    """Measure a run.

    Args:
        run: opened.
        options: what is asked.
        doing: shows what takes long.

    Raises:
        UserError: a model of it cannot be read.
    """
    steps: list[AtStep] = []
    notes: list[str] = []
    before_text: np.ndarray | None = None
    try:
        start = run.start()
    except UserError as error:
        notes.append(f"nothing is said of the model that it started from: {error.message}")
    else:
        steps.append(_losses(run, start, 0, doing))
        if options.paragraphs:
            with doing(f"reading {len(options.paragraphs)} paragraphs, before training"):
                before_text, _ = text_losses(start, Likelihoods(start), options.paragraphs)
        del start
    for step in run.steps[:-1]:
        steps.append(_losses(run, run.model(step), step, doing))
    model = run.model(run.steps[-1])
    likelihoods = Likelihoods(model)
    steps.append(_losses(run, model, run.steps[-1], doing))
    result = RunResult(run, steps, notes=notes)
    if options.paragraphs and before_text is not None:
        with doing(f"reading {len(options.paragraphs)} paragraphs"):
            after, tokens = text_losses(model, likelihoods, options.paragraphs)
        result.text = TextLosses(after, before_text, tokens)
    if options.answers:
        known = output_grams(run.data.train, options.ngram)
        for name, examples in zip(SETS, (run.train, run.heldout), strict=True):
            asked = [examples.views[at] for at in first(examples, options.answers, options.seed)]
            found = _answers(model, likelihoods, asked, name, known, options, doing)
            if found is None:
                notes.append(f"no {name} example has an answer to hold one to")
            else:
                result.answers[name] = found
    if options.gradient_examples:
        result.gradients = _gradients(run, model, options, doing)
    return result


def first(examples: Examples, count: int, seed: int) -> list[int]:
    """Numbers of some examples, drawn by the seed, in order."""
    if len(examples) <= count:
        return list(range(len(examples)))
    return sorted(np.random.default_rng(seed).choice(len(examples), count, replace=False).tolist())


def _losses(run: AnalysedRun, model: Model, step: int, doing: Activity) -> AtStep:
    likelihoods = Likelihoods(model)
    with doing(f"losses of {len(run.train) + len(run.heldout)} examples at step {step} of {run.name}"):
        train, heldout = (losses_of(likelihoods, each.views) for each in (run.train, run.heldout))
    return AtStep(step, run.epochs(step), train, heldout)


def _answers(
    model: Model,
    likelihoods: Likelihoods,
    examples: list[ExampleView],
    name: str,
    known: np.ndarray,
    options: Options,
    doing: Activity,
) -> AnswersOf | None:
    what = "training instructions" if name == "train" else "held-out instructions"
    found = answers_to(model, examples, max_tokens=options.max_new_tokens, doing=doing, what=what)
    if not found:
        return None
    texts, references = [each.text for each in found], [each.reference for each in found]
    with doing("continuing outputs verbatim"):
        verbatim = extracted(likelihoods, examples, prefix=options.prefix, lengths=options.lengths)
    return AnswersOf(
        found,
        *(bleu(texts, references), copied(found, options.ngram, known), verbatim),
        distinct={n: distinct(texts, n) for n in (1, 2, 3)},
        self_bleu=self_bleu(texts[:_ALIKE]),
        reference_distinct={n: distinct(references, n) for n in (1, 2, 3)},
        reference_self_bleu=self_bleu(references[:_ALIKE]),
    )


def _gradients(run: AnalysedRun, model: Model, options: Options, doing: Activity) -> ClassGradients:
    is_trained = trained_parts(model.config, run.config.train.trainable)
    of = Differentiated(model, is_trained, rows_at_a_time=options.rows_at_a_time)
    train, heldout = (
        [each.views[number] for number in first(each, options.gradient_examples, options.seed)]
        for each in (run.train, run.heldout)
    )
    reduction, rate = run.config.loss.reduction, options.learning_rate
    with doing(f"gradients by token class of {len(train)} examples of {run.name}"):
        return class_gradients(
            of,
            weighted_rows(train, "all", reduction, of.rows),
            weighted_rows(heldout, "it", reduction, of.rows),
            run.config.optimizer.learning_rate if rate is None else rate,
        )
