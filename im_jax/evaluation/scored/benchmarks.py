"""Each benchmark's files as `Scored`."""

import os
from collections.abc import Callable

from im_jax.evaluation.code.execution import Limits
from im_jax.evaluation.code.human_eval import better, read_problems, read_samples
from im_jax.evaluation.code.human_eval import score as score_programs
from im_jax.evaluation.instructions_followed.scoring import read_prompts, read_responses
from im_jax.evaluation.instructions_followed.scoring import score as score_instructions
from im_jax.evaluation.instructions_followed.sentences import PUNKT
from im_jax.evaluation.items import Item
from im_jax.evaluation.judged.mt_bench import WRONG_REFERENCES, read_questions
from im_jax.evaluation.judged.mt_bench_scores import NO_RATING, mt_bench_scores, read_judgements
from im_jax.evaluation.judged.win_rates import LENGTH_CONTROLLED_NEEDS, read_annotations, win_rate
from im_jax.evaluation.scored.scored import Figure, Scored, item_number, prompt_hash
from im_jax.text import counted

Path = str | os.PathLike[str]


def alpaca_eval(judgements: Path) -> Scored:
    """Win rates, in percent, from a file of annotations.

    Raises:
        UserError: it cannot be scored.
    """
    annotations = read_annotations(judgements)
    found = win_rate(annotations)
    judged = found.wins + found.losses + found.draws
    figures = [
        Figure("win rate", found.win_rate, found.standard_error, judged, "win_rate,none"),
        Figure("discrete win rate", found.discrete, None, judged),
    ]
    notes = [f"wins {found.wins:,}, losses {found.losses:,}, draws {found.draws:,}"]
    if found.both_orders is not None and found.agreement is not None:
        twice = found.asked_twice
        figures += [
            Figure("win rate, mean of both orders", found.both_orders, None, twice),
            Figure("agreement of both orders", 100 * found.agreement, None, twice),
        ]
    figures.append(Figure("mean length, characters", found.length, None, len(annotations.each)))
    if found.unjudged:
        notes.append(f"{counted(found.unjudged, 'instruction')} without a verdict, in no win rate")
    notes.append(f"length-controlled win rate: missing; it needs {LENGTH_CONTROLLED_NEEDS}")
    items = [
        Item(
            item_number(each.instruction),
            prompt_hash(each.instruction, each.reference, found.reference, found.judge),
            f"alpaca_eval/{item_number(each.instruction)}",
            {"win_rate,none": 100 * (each.preference - 1)},
        )
        for each in annotations.each
        if each.preference is not None
    ]
    return Scored(
        "alpaca_eval",
        found.model,
        {"judge": found.judge, "reference": found.reference},
        figures,
        notes,
        items,
    )


def mt_bench(judgements: Path, data: Path | None) -> list[Scored]:
    """Scores of each model in a file of judgements; by category where the questions are given.

    Raises:
        UserError: it cannot be scored.
    """
    questions = read_questions(data) if data is not None else {}
    scored = []
    for judged in read_judgements(judgements):
        found = mt_bench_scores(judged, questions)
        means = {"all": found.overall}
        means |= {f"turn {turn}": mean for turn, mean in found.turns.items()}
        means |= found.categories
        figures = [
            Figure(name, mean.value, mean.standard_error, mean.count, "score,none" if name == "all" else "")
            for name, mean in means.items()
        ]
        notes = [] if questions else ["by category: missing; it needs the questions, --data=FOLDER"]
        if found.unrated:
            notes.append(f"{counted(found.unrated, 'judgement')} without a rating, in no mean")
        if questions and (missing := 2 * len(questions) - len(judged.scores)):
            notes.append(f"{counted(missing, 'turn')} not judged, in no mean")
        if found.wrong_references:
            notes.append(
                f"{counted(found.wrong_references, 'rating')} beside a reference of GPT-4 that is known to "
                f"be wrong (of questions {', '.join(map(str, WRONG_REFERENCES))})"
            )
        items = [
            Item(
                10 * number + turn,
                prompt_hash(number, turn, judged.judge),
                f"mt_bench/{number}",
                {"score,none": score},
            )
            for (number, turn), score in judged.scores.items()
            if score != NO_RATING
        ]
        scored.append(Scored("mt_bench", found.model, {"judge": found.judge}, figures, notes, items))
    return scored


def ifeval(data: Path, answers: Path) -> Scored:
    """Shares of prompts and instructions followed, in percent.

    Raises:
        UserError: the files cannot be scored.
    """
    found = score_instructions(read_prompts(data), read_responses(answers))
    count = sum(number for *_, number in found.by_instruction.values())
    shares = (
        ("prompts, strict", found.prompt_strict, found.prompts, "prompt_strict,none"),
        ("prompts, loose", found.prompt_loose, found.prompts, "prompt_loose,none"),
        ("instructions, strict", found.instruction_strict, count, "instruction_strict,none"),
        ("instructions, loose", found.instruction_loose, count, "instruction_loose,none"),
    )
    figures = [
        Figure(name, 100 * share.value, 100 * share.standard_error, number, metric)
        for name, share, number, metric in shares
    ]
    figures += [
        Figure(f"{name}, strict", 100 * strict, None, number)
        for name, (strict, _, number) in found.by_instruction.items()
    ]
    notes = []
    if found.missing:
        notes.append(f"{counted(found.missing, 'prompt')} not answered, in no share")
    if found.sentences != PUNKT:
        notes.append(f"sentences were told apart by {found.sentences}: two of 25 rules may count otherwise")
    items = [
        Item(
            prompt.key,
            prompt_hash(prompt.prompt, found.sentences),
            f"ifeval/{prompt.key}",
            {"prompt_strict,none": 100.0 * all(each.strict), "prompt_loose,none": 100.0 * all(each.loose)},
            {
                "instruction_strict,none": (100.0 * sum(each.strict), len(each.strict)),
                "instruction_loose,none": (100.0 * sum(each.loose), len(each.loose)),
            },
        )
        for prompt, each in found.each
    ]
    return Scored("ifeval", os.fspath(answers), {}, figures, notes, items)


def human_eval(data: Path, answers: Path, limits: Limits, done: Callable[[], None] = lambda: None) -> Scored:
    """pass@k, in percent, at each temperature; completions are run, each confined.

    Raises:
        UserError: the files cannot be scored, or programs cannot be confined here.
    """
    problems = read_problems(data)
    samples = read_samples(answers, problems)
    results = score_programs(problems, samples, limits, done)
    figures, notes, metrics = [], [], dict[str, dict[str, float]]()
    for result in results:
        at = "" if result.temperature is None else f", temperature {result.temperature:g}"
        metric = f"pass@1{at.replace(', temperature ', ',t')}" if at else "pass@1,none"
        for k, mean in result.pass_at.items():
            named = metric if k == 1 else ""
            figures.append(
                Figure(f"pass@{k}{at}", 100 * mean.value, 100 * mean.standard_error, mean.problems, named)
            )
        for task_id, passed in result.passed.items():
            metrics.setdefault(task_id, {})[metric] = 100.0 * sum(passed) / len(passed)
        fewest, most = result.samples
        each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        failed = ", ".join(f"{number:,} {reason}" for reason, number in result.failures.items())
        notes.append(f"{each} of each problem{at}; did not pass: {failed or 'none'}")
        if result.missing:
            missing = counted(len(result.missing), "problem")
            notes.append(f"{missing} without a completion{at}, in no mean, such as {result.missing[0]}")
    if len(results) > 1:
        best = better(results)
        notes.append(
            f"the better pass@1 is that of temperature {best.temperature:g}, which the paper reports"
        )
    items = [
        Item(number, prompt_hash(problem.prompt, problem.test), f"human_eval/{number}", metrics[task_id])
        for number, (task_id, problem) in enumerate(problems.items())
        if task_id in metrics
    ]
    return Scored("human_eval", os.fspath(answers), {}, figures, notes, items)
