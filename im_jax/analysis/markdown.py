"""An analysis as Markdown: a few tables and what they say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from im_jax.text import counted


def to_markdown(record: Mapping[str, Any], figures: Sequence[tuple[str, str]] = ()) -> str:
    """The page of a record as `im_jax.analysis.record.as_record` makes it.

    Args:
        record: all numbers.
        figures: file and caption of each.
    """
    runs = record["runs"]
    parts = ["# What the runs learned by heart", _about(record)]
    parts += [f"- {run['name']}: {note}" for run in runs for note in run["notes"]]
    for title, lines in sections(record):
        parts += [f"## {title}", "\n".join(_table(lines))]
    for path, caption in figures:
        parts += [f"![{caption}]({path})", caption]
    return "\n\n".join(parts) + "\n"


def sections(record: Mapping[str, Any]) -> Iterable[tuple[str, list[list[str]]]]:
    """Title and rows, heading first, of each table."""
    runs = record["runs"]
    names = [f"{run['name']} ({run['policy']})" for run in runs]
    titles = {name: m["title"] for run in runs for name, m in run["measures"].items()}
    yield (
        "Measures, with intervals of 95 % over examples",
        [
            ["measure", *names],
            *(
                [title, *(_measure(run["measures"].get(name)) for run in runs)]
                for name, title in titles.items()
            ),
        ],
    )
    rows = [["run", "set", "BLEU", "answers", "mean tokens", "of references", "distinct-2", "self-BLEU"]]
    for run, name in zip(runs, names, strict=True):
        for of, found in run["answers"].items():
            lengths = f"{found['mean_tokens']:.1f}", f"{found['mean_reference_tokens']:.1f}"
            alike = _number(found["distinct"]["2"]), _number(found["self_bleu"])
            rows.append([name, of, f"{found['bleu']:.2f}", str(found["answers"]), *lengths, *alike])
    if len(rows) > 1:
        signature = next(found["signature"] for run in runs for found in run["answers"].values())
        yield f"Greedy answers ({signature})", rows
    rows = [["run", "epoch", "set", *_CLASSES]]
    for run, name in zip(runs, names, strict=True):
        for at in run["steps"]:
            for of in ("train", "heldout"):
                nll = [_number(at[of]["by_class"].get(f"nll/{each}")) for each in _CLASSES]
                rows.append([name, f"{at['epoch']:.2f}", of, *nll])
    yield "NLL by token class and epoch, in nats", rows
    rows = [["run", "source", "set", "examples", "loss on outputs", *_CLASSES]]
    for run, name in zip(runs, names, strict=True):
        for of in ("train", "heldout"):
            for source, at in run["steps"][-1][of].get("by_source", {}).items():
                nll = [_number(at["by_class"].get(f"nll/{each}")) for each in _CLASSES]
                rows.append([name, source, of, str(at["examples"]), _number(at["output_loss"]), *nll])
    if len(rows) > 1:
        yield "NLL by source and token class at the newest checkpoint, in nats", rows
    if any(run["gradients"] for run in runs):
        yield "What a step on some tokens changes of the held-out loss on outputs", _steps(runs, names)
    for each in record["comparisons"]:
        if each["differences"]:
            title = f"{each['second']} minus {each['first']}, on the same examples"
            rows = [["measure", "difference", "95 %", "p (Holm)"]]
            for name, d in each["differences"].items():
                low, high = d["interval"]
                interval = "" if low is None else f"{low:+.4f} to {high:+.4f}"
                rows.append([titles[name], f"{d['value']:+.4f}", interval, _p(d["p_holm"])])
            yield title, rows


_CLASSES = ("system", "user", "tool", "assistant", "stop", "header", "separator")


def _steps(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[str]]:
    rows = [["run", "tokens", "gradient norm", "cosine of both", "predicted", "measured"]]
    for run, name in zip(runs, names, strict=True):
        found = run["gradients"]
        for group, step in found["steps"].items() if found else ():
            cosine = found["cosine"]["all"]
            rows.append(
                [
                    *(name, group, f"{found['norms'][group]['all']:.4g}"),
                    _number(cosine, 3),
                    *(f"{step['predicted']:+.3g}", f"{step['measured']:+.3g}"),
                ]
            )
    return rows


def _about(record: Mapping[str, Any]) -> str:
    runs = record["runs"]
    at = runs[0]["steps"][-1]
    examples = counted(at["train"]["examples"], "training example")
    held = at["heldout"]["examples"]
    return f"{counted(len(runs), 'run')}, {examples} and {held} held out, seed {record['seed']}."


def _measure(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return ""
    if found["interval"] is None:
        return f"{found['value']:.4f}"
    return f"{found['value']:.4f} ({found['interval'][0]:.4f} to {found['interval'][1]:.4f})"


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + "---|" * len(cells[0]), *lines[1:]]
