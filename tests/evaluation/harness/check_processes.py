"""One process of two: asks, or serves, and writes what was found on the first one.

Arguments: folder of the model, folder of the data, file to write.
"""

import json
import pathlib
import sys
from typing import Any

from im_jax.cluster.joining import join_cluster
from im_jax.config import Config
from im_jax.evaluation.harness.asking import answers_of
from im_jax.evaluation.harness.loading import Wanted, ready
from im_jax.evaluation.harness.running import Found, run
from tests.evaluation.harness.made_model import opened


def wanted(data: pathlib.Path) -> Wanted:
    """A task of likelihoods, and one of generated answers."""
    return Wanted(("piqa", "gsm8k_cot"), data, limit=2, max_new_tokens=4)


def responses(found: Found) -> dict[str, Any]:
    """What the model said of each item, by task."""
    return {task: [item.more["responses"] for item in items] for task, items in found.items.items()}


def main(folder: str, data: str, output: str) -> None:
    join_cluster(Config())
    import jax

    model = opened(pathlib.Path(folder))
    with ready(wanted(pathlib.Path(data))) as loaded:
        found = run(model, loaded, answers_of(model))
    assert (found is None) == (jax.process_index() > 0)
    if found is not None:
        pathlib.Path(output).write_text(json.dumps(responses(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
