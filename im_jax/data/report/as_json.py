"""The report as one JSON object; its keys are those of docs/data.md and stay what they are."""

from typing import Any

from im_jax.data.report import fits, numbers
from im_jax.data.report.build import Report
from im_jax.data.report.counts import Counts, edges_for
from im_jax.data.report.measure import Measured


def to_json(report: Report) -> dict[str, Any]:
    """All figures; what there is none of is None."""
    counts = report.counts
    return {
        "source": report.title,
        "template": report.template,
        "tokenizer": report.tokenizer,
        "max_length": report.max_length,
        "truncation": report.truncation,
        "policy": report.policies[0].name,
        "records": {"total": counts.total, "kept": counts.kept}
        | {key: count for key, _, count in numbers.fates(report)},
        **_measured(report, report.measured),
        "classes": _classes(report),
        "sources": {name: _measured(report, found) for name, found in report.sources.items()},
        "same": _same(report),
        "special_in_content": counts.special_in_content,
        "unread": dict(counts.unread),
        "turn_choices": dict(counts.turn_choices),
        "left_out_by_turns": dict(counts.left_out_by_turns),
        "left_out_by_recipe": dict(counts.left_out_by_recipe),
        "malformed": list(counts.skipped),
        "fits": _fits(report),
        "findings": numbers.findings(report),
    }


def _measured(report: Report, measured: Measured) -> dict[str, Any]:
    """What there is of any examples, all or those of a source."""
    words, tokens = measured.ratio_in_words, measured.ratio_in_tokens
    above = measured.full_length.above(report.max_length)
    return {
        "words": {
            "instruction": _lengths(measured.instruction_words),
            "output": _lengths(measured.output_words),
            "ratio": words,
            "inverse_ratio": numbers.inverse(words),
        },
        "tokens": {
            "instruction": _lengths(measured.instruction_tokens),
            "output": _lengths(measured.output_tokens),
            "ratio": tokens,
            "inverse_ratio": numbers.inverse(tokens),
            "total": int(measured.tokens.sum()),
        },
        "turns": _lengths(measured.turns),
        "lengths": _lengths(measured.full_length, split=report.max_length + 1)
        | {"above": above, "share_above": _share(above, len(measured.full_length))},
        "trained": {
            policy.name: {
                "tokens": policy.trained(measured),
                "share": _share(policy.trained(measured), int(measured.tokens.sum())),
            }
            for policy in report.policies
        },
    }


def _lengths(counts: Counts, split: int | None = None) -> dict[str, Any]:
    edges = edges_for([counts], split=split)
    return {
        "examples": len(counts),
        "mean": counts.mean,
        "sd": counts.sd,
        "median": counts.median,
        "percentile_95": counts.percentile(95),
        "smallest": counts.smallest,
        "largest": counts.largest,
        "histogram": {"edges": list(edges), "counts": counts.histogram(edges)},
    }


def _classes(report: Report) -> dict[str, Any]:
    """By main class; `parts` are its sub-classes, where it has tokens of several."""
    everything = int(report.measured.tokens.sum())
    found: dict[str, Any] = {}
    for row in numbers.class_rows(report):
        named = zip((policy.name for policy in report.policies), row.trained, strict=True)
        entry = {"tokens": row.tokens, "share": _share(row.tokens, everything), "trained": dict(named)}
        if row.part:
            found[row.token_class.main.label]["parts"][row.token_class.label] = entry
        else:
            found[row.token_class.label] = entry | {"parts": {}}
    return found


def _same(report: Report) -> dict[str, Any]:
    held = report.heldout
    return report.same.as_dict() | {"heldout": None if held is None else held._asdict()}


def _fits(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "label": fits.LABEL,
            "of": fits.GAIN,
            "x": place.fit.name,
            "slope": place.fit.slope,
            "intercept": place.fit.intercept,
            "fitted": list(place.fit.fitted),
            "value": place.x,
            "gain": place.gain,
            "extrapolated": place.extrapolated,
            "reading": place.reading,
        }
        for place in report.places()
    ]


def _share(part: int, of: int) -> float | None:
    return part / of if of else None
