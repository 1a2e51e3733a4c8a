"""WORKDIR/summary.json: what came out of a run."""

import json
import pathlib
import time

import jax

from im_jax.evaluation.protocol import Entry
from im_jax.files import write_whole
from im_jax.models import counts
from im_jax.training.memory import bytes_on_a_device, used_on_a_device
from im_jax.training.metrics import finite_or_none
from im_jax.training.run import Run


def write_summary(
    run: Run, entries: dict[str, Entry | None], first_step: int, workdir: pathlib.Path
) -> Entry:
    """Write WORKDIR/summary.json, on the first process."""
    summary = {
        "step": run.last_step,
        "resumed_from": first_step,
        "policy": run.policy.name,
        "reduction": run.policy.reduction,
        "parameters": counts.num_params(run.config.model),
        "devices": jax.device_count(),
        "seconds": round(time.perf_counter() - run.began, 1),
        "fingerprint": run.fingerprint,
        "memory": _memory(run),
        "data": run.data.as_dict(),
    } | {name: finite_or_none(entry) for name, entry in entries.items()}
    if jax.process_index() == 0:
        write_whole(workdir / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


def _memory(run: Run) -> dict[str, int | None]:
    """Of a device: the state as it is planned by shapes, and what was in use."""
    planned = bytes_on_a_device(run.abstract_state())
    return {"state_bytes": planned, **used_on_a_device(jax.local_devices()[0])}
