"""Have answers to AlpacaEval or MT-Bench judged by a model behind an OpenAI-compatible server.

    python -m im_jax.evaluate judge --benchmark=alpaca_eval --answers=FILE --reference=FILE
        --judge=MODEL --output=FILE [--both_orders] [--kind=weighted|ranked] [--judge_prompt=FILE]
    python -m im_jax.evaluate judge --benchmark=mt_bench --answers=FILE --data=FOLDER
        --judge=MODEL --output=FILE

--output is AlpacaEval's annotations or FastChat's judgements, which `evaluate score` reads. Every answer of
the judge is kept in --cache as it comes, OUTPUT.cache.jsonl if it is not set: the same command goes on where
it stood, asks for what failed, and pays for nothing twice. What failed is counted by kind and named in
OUTPUT.failures.jsonl. --max_cost is never passed, by all runs on one cache together; it needs the prices of a
million tokens. The key is read from the environment.
"""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.stores.places import local

if TYPE_CHECKING:
    from im_jax.evaluation.judged.judging import Work

NEEDS: Final = {"alpaca_eval": ("answers", "reference"), "mt_bench": ("answers", "data")}
"""Flags that each benchmark needs, beside --judge and --output."""
_TAKES: Final = {"alpaca_eval": ("kind", "judge_prompt", "both_orders")}
_OPENAI: Final = "https://api.openai.com/v1"


def main(argv: Sequence[str]) -> int:
    """Judge as a command line (program name first) asks; returns 1 if anything failed."""
    values = read_flags(argv, define_flags)
    _check(values)

    def given(name: str) -> Any:
        return values[name].value

    # Only now: flags have been read.
    from im_jax.activity import on_console
    from im_jax.evaluation.judged.asking import Manner
    from im_jax.evaluation.judged.budget import Prices
    from im_jax.evaluation.judged.endpoint import Endpoint
    from im_jax.evaluation.judged.judging import Purse, judge

    url = given("endpoint") or os.environ.get("OPENAI_BASE_URL") or _OPENAI
    secret = os.environ.get(given("key_variable"), "").strip()
    if url == _OPENAI and not secret:
        raise ConfigError(
            f"{_OPENAI} needs a key, and ${given('key_variable')} is not set; set it, or --endpoint=URL"
        )
    endpoint = Endpoint(url, secret, given("seconds"))
    manner = Manner(given("workers"), given("tries"), per_minute=given("per_minute"))
    prices = [given(name) for name in ("price_prompt", "price_completion")]
    if prices.count(None) == 1:
        raise ConfigError("one price is given; set both --price_prompt and --price_completion")
    purse = Purse(None if None in prices else Prices(*prices), given("max_cost"))
    output = local(given("output"))
    cache = local(given("cache") or f"{output}.cache.jsonl", "--cache")
    console = Console(stderr=True)
    report = judge(
        _work(given), endpoint, output, cache, manner, purse,
        activity=on_console(console), say=console.print, dry_run=given("dry_run"),
    )  # fmt: skip
    return int(report.failed > 0)


def _check(values: flags.FlagValues) -> None:
    benchmark = values["benchmark"].value
    if benchmark is None:
        raise ConfigError(f"which benchmark? set --benchmark to one of {', '.join(NEEDS)}")
    for name in (*NEEDS[benchmark], "judge", "output"):
        if not values[name].value:
            raise ConfigError(f"judging {benchmark} needs --{name}, which is not given")
    own = {*NEEDS[benchmark], *_TAKES.get(benchmark, ())}
    others = {*sum(NEEDS.values(), ()), *sum(_TAKES.values(), ())} - own
    for name in sorted(others):
        if values[name].present:
            raise ConfigError(f"--{name} is not for {benchmark}; leave it out")


def _work(given: Callable[[str], Any]) -> "Work":
    from im_jax.evaluation.judged import judging

    changed = _object(given("fields"))
    if given("benchmark") == "mt_bench":
        return judging.mt_bench(
            given("answers"),
            given("data"),
            given("judge"),
            given("model_name"),
            changed,
        )
    prompt = given("judge_prompt")
    if prompt and not pathlib.Path(prompt).is_file():
        raise ConfigError(f"--judge_prompt={prompt}: there is no such file")
    return judging.alpaca_eval(
        given("answers"),
        given("reference"),
        judging.Judge(
            given("judge"),
            given("kind"),
            pathlib.Path(prompt).read_text(encoding="utf-8") if prompt else "",
            changed,
        ),
        both_orders=given("both_orders"),
        model_name=given("model_name"),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(
            f"--fields={text} is no JSON object; write it as '{{\"max_completion_tokens\": 100}}'"
        )
    return found


def define_flags(values: flags.FlagValues) -> None:
    def text(name: str, default: str | None, what: str) -> None:
        flags.DEFINE_string(name, default, what, flag_values=values)

    def number(name: str, default: float | None, what: str, least: float = 0.0) -> None:
        flags.DEFINE_float(name, default, what, lower_bound=least, flag_values=values)

    flags.DEFINE_enum("benchmark", None, list(NEEDS), "Which one.", flag_values=values)
    text("answers", None, "What the model said.")
    text("reference", None, "alpaca_eval: outputs of the reference model.")
    text("data", None, "mt_bench: FastChat's folder with questions, prompts and references.")
    text("judge", None, "The model that judges, as its server calls it.")
    text("model_name", "", "Name of the judged model; by default that in its answers.")
    text("output", None, "The file to write.")
    text("cache", None, "Where every answer of the judge is kept.")
    text("endpoint", None, f"Address of the server; else $OPENAI_BASE_URL, else {_OPENAI}.")
    text("key_variable", "OPENAI_API_KEY", "Environment variable that holds the key.")
    text("fields", "{}", "JSON object: fields of a request to change; null leaves one out.")
    kinds = ["weighted", "ranked"]
    flags.DEFINE_enum(
        "kind", "weighted", kinds, "alpaca_eval: as version 2.0 or 1.0 asks.", flag_values=values
    )
    text("judge_prompt", None, "alpaca_eval: a prompt file of its package; else words of this project.")
    flags.DEFINE_boolean(
        "both_orders", False, "alpaca_eval: ask with the outputs both ways round.", flag_values=values
    )
    number("max_cost", None, "Most that may be spent, in the currency of the prices.")
    number("price_prompt", None, "For a million tokens that the judge reads.")
    number("price_completion", None, "For a million tokens that it writes.")
    flags.DEFINE_integer("workers", 8, "Requests at once.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("tries", 5, "Of each request.", lower_bound=1, flag_values=values)
    number("per_minute", 0.0, "Requests begun in a minute, at most; 0: any number.")
    number("seconds", 120.0, "For one answer.", 0.001)
    flags.DEFINE_boolean("dry_run", False, "Say what would be asked and at most cost.", flag_values=values)


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
