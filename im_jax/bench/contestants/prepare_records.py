"""The conversations that are prepared: those of some files, repeated, as records with messages."""

import itertools
import json
import pathlib

from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, Values
from im_jax.data.files import chunks, located
from im_jax.data.records import conversation_of
from im_jax.errors import DataError


def records_file(case: Case) -> str:
    """Where the conversations of a case are."""
    return str(pathlib.Path(case.checkpoint) / "records.jsonl")


def make(case: Case, variant: str) -> Contestant:
    """Writes the conversations. Variant: none. Records that are malformed are left out."""
    del variant
    lines = []
    for chunk in chunks(located(case.data, "data"), "data"):
        for record in chunk.records():
            try:
                conversation = conversation_of(record)  # type: ignore[arg-type]
            except DataError:
                continue
            messages = [{"role": m.role, "content": m.text} for m in conversation.messages]
            lines.append(json.dumps({"messages": messages}) + "\n")
    with open(records_file(case), "w", encoding="utf-8") as file:
        file.writelines(itertools.islice(itertools.cycle(lines), case.shape[0]))
    values: Values = {"examples": case.shape[0]}
    return Contestant(lambda: None, lambda: values, "", {})
