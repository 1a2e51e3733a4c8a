"""Counts of parts of a source added up, and kept with what was encoded."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from im_jax.data.statistics import MESSAGES, DataReport


def add_counts(total: DataReport, part: DataReport) -> None:
    """Add the counts of what comes next in a source."""
    for field in dataclasses.fields(DataReport):
        setattr(total, field.name, _sum(getattr(total, field.name), getattr(part, field.name)))


def joined_counts(reports: Iterable[DataReport]) -> DataReport:
    """The counts of several sources as one."""
    whole = DataReport()
    for report in reports:
        add_counts(whole, report)
    return whole


def _sum(total: Any, part: Any) -> Any:
    """Two values of a field: numbers and arrays add up, messages follow each other up to their limit."""
    if isinstance(total, dict):
        merged = type(total)(total)
        for key, value in part.items():
            merged[key] = _sum(merged[key], value) if key in total else value
        return merged
    if isinstance(total, list):
        total += part[: MESSAGES - len(total)]
        return total
    return total + part


def counts_to_json(report: DataReport) -> dict[str, Any]:
    """The fields of a report as JSON holds them."""
    return {field.name: _to_json(getattr(report, field.name)) for field in dataclasses.fields(report)}


def counts_from_json(fields: dict[str, Any]) -> DataReport:
    """The report that `counts_to_json` was given.

    Raises:
        KeyError, TypeError, ValueError: the fields are no report's.
    """
    report = DataReport()
    for field in dataclasses.fields(report):
        setattr(report, field.name, _like(getattr(report, field.name), fields[field.name]))
    report.left_out = {
        name: Counter({int(value): count for value, count in counts.items()})
        for name, counts in report.left_out.items()
    }
    return report


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else int(value)


def _like(empty: Any, value: Any) -> Any:
    if isinstance(empty, np.ndarray):
        return np.array(value, empty.dtype).reshape(empty.shape)
    return type(empty)(value)
