"""`--dry_run` says what a run would be, and does nothing."""

import io

import jax

from im_jax.console import Console
from im_jax.models import counts, decoder
from im_jax.training.overview import overview
from im_jax.training.run import prepare_run, resolve
from tests.training.tiny import tiny_config


def test_overview_says_how_long_and_how_large_a_run_is() -> None:
    config = tiny_config()
    config.loss.policy = "it"
    run = prepare_run(resolve(config))
    console = Console(file=io.StringIO(), width=120)
    for table in overview(run):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if line.count("│") > 2}

    def value(name: str) -> str:
        return lines[name].split("│")[2].strip()

    assert value("parameters").endswith("KiB")
    assert f"{counts.num_params(run.config.model):,}" in text
    assert int(value("rows of 256 tokens").replace(",", "")) == len(run.data.train_rows)
    assert value("steps") == "6"
    assert value("tokens of a step, padding included") == "1,024"
    assert value("user") == "0" and value("assistant") == "1"
    tokens = run.data.report.as_dict()["tokens"]
    trained = tokens["assistant"] + tokens["stop"]
    assert f"{trained:,}" in lines["with loss"]
    parameters = sum(x.size * 4 for x in jax.tree.leaves(decoder.abstract_params(run.config.model)))
    assert value("state of the optimiser").startswith(f"{2 * parameters / 1024:,.4g}"[:3])
    unit = {"KiB": 2**10, "MiB": 2**20}
    number, name = value("all of a step").split()
    assert float(number.replace(",", "")) * unit[name] > 3 * parameters
