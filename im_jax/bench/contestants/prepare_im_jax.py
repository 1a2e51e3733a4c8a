"""Preparation of instruction data by this package: from records to a set in the store, and a plan."""

import pathlib
import shutil

from im_jax.activity import silent
from im_jax.bench.case import Case
from im_jax.bench.contestant import Contestant, Values
from im_jax.bench.contestants.prepare_records import records_file
from im_jax.config import DataConfig
from im_jax.data.files import File, chunks
from im_jax.data.packing import best_fit_plan
from im_jax.data.store.chunk import Job
from im_jax.data.store.sets import RecordFiles, encoded_set
from im_jax.hardware import cores


def make(case: Case, variant: str) -> Contestant:
    """Variant: none. Nothing is left of one call for the next but this process's own table of words."""
    del variant
    file = records_file(case)
    cache = pathlib.Path(case.checkpoint) / "cache"
    data = DataConfig(source="jsonl", max_length=case.shape[1], template="tulu", cache=str(cache))
    job = Job(data, case.tokenizer)
    encoder = job.encoder()
    files = RecordFiles((file,), lambda: chunks([File(file)], "data.path"), file)
    counted: Values = {}

    def call() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        made = encoded_set(files, encoder, job, silent)
        dataset = made.dataset
        plan = best_fit_plan(dataset.lengths, data.max_length, data.seed)
        counted.update(examples=len(dataset.lengths), tokens=int(dataset.lengths.sum()), rows=len(plan))

    return Contestant(call, lambda: dict(counted), f"{cores()} processes", {})
