"""From the words of a command line to cases and a plan; mistakes are found before anything starts."""

import functools
import itertools
import os
import re
import shutil
from typing import Any, Final, NamedTuple

from absl import flags

from im_jax.bench import methods as catalogue
from im_jax.bench.case import Case
from im_jax.bench.rounds import Plan
from im_jax.bench.sizes import TRAIN_STEPS, RewriteSizes, Sizes, SmallSizes
from im_jax.command_line import read_flags
from im_jax.errors import ConfigError

_SHAPES: Final = {
    "cross_entropy": "2048x768x50257",
    "attention": "8x512x4x64",
    "train_step": "8x512",
    "lora": "8x512",
    "rewrites": "128x6x2",
    "prepare": "200000x2048",
    "likelihood": "1000x4096",
    "generate": "512x256",
}
"""That of `rewrites` has the examples of the tier `cpu` in `im_jax.studies.rewrites.experiments`."""
_AXES: Final = {
    "cross_entropy": "NxDxV",
    "attention": "BxLxHxK",
    "train_step": "BxL",
    "lora": "BxL",
    "rewrites": "x".join(RewriteSizes._fields),
    "prepare": "conversationsxtokens",
    "likelihood": "questionsxpositions",
    "generate": "promptsxtokens",
}
_ACTIVE: Final = {"cross_entropy": "1,0.234,0.037", "train_step": "1,0.037", "lora": "1,0.037"}
_LLAMA: Final = "32000x256x6x4x4x688"
_MODELS: Final = dict.fromkeys((*TRAIN_STEPS, "likelihood", "generate"), _LLAMA) | {"rewrites": "2x4x64"}
"""21.1 million parameters, and 0.1."""
_MODEL_AXES: Final = {name: "x".join(Sizes._fields) for name in (*TRAIN_STEPS, "likelihood", "generate")} | {
    "rewrites": "x".join(SmallSizes._fields)
}
_WORK: Final = ("train", "evaluate")
_LENGTHS: Final = ("fixed", "real")
_TASKS: Final = ("mmlu", "arc_easy", "openbookqa", "piqa")
_DTYPES: Final = ("float32", "bfloat16")


class Options(NamedTuple):
    """A checked command line."""

    cases: list[Case]
    plan: Plan
    format: str


def parse(argv: list[str]) -> Options:
    """Cases and plan of a command line (program name first, then the benchmark).

    Raises:
        ConfigError: naming what is wrong and what could stand there.
    """
    benchmark = argv[1] if len(argv) > 1 else ""
    if benchmark not in catalogue.BENCHMARKS:
        raise ConfigError(
            f"which benchmark? {benchmark!r} is none; name one first: {', '.join(catalogue.BENCHMARKS)}"
        )
    define = functools.partial(define_flags, benchmark=benchmark)
    flag_values = read_flags([argv[0], *argv[2:]], define)
    values: dict[str, Any] = {name: flag_values[name].value for name in flag_values}
    methods = values["methods"] or catalogue.default_methods(benchmark)
    for name in methods:
        catalogue.find_method(benchmark, name)
    pythons = {}
    if benchmark == "train_step" and values["tunix_python"]:
        pythons["tunix"] = _executable("tunix_python", values["tunix_python"])
    plan = Plan(
        methods=list(dict.fromkeys(methods)),
        rounds=values["rounds"],
        pythons=pythons,
        limit=values["limit"],
    )
    return Options(_cases(benchmark, values), plan, values["format"])


def define_flags(values: flags.FlagValues, benchmark: str) -> None:
    """The flags of a benchmark."""
    axes = _AXES[benchmark]
    flags.DEFINE_string("shape", _SHAPES[benchmark], f"Sizes {axes}.", flag_values=values)
    if benchmark == "prepare":
        flags.DEFINE_string("data", None, "Files whose conversations are repeated.", flag_values=values)
        flags.DEFINE_list("tokenizers", ["bytes"], "Directories of tokenizers.", flag_values=values)
    elif benchmark == "likelihood":
        flags.DEFINE_string("data", None, "Folder of the tasks' files.", flag_values=values)
        flags.DEFINE_string("tokenizer", None, "Directory or file of the tokenizer.", flag_values=values)
        flags.DEFINE_list("work", list(_TASKS), "Of " + ", ".join(_TASKS) + ".", flag_values=values)
    elif benchmark == "generate":
        flags.DEFINE_string("data", None, "Files of prompts, joined by commas.", flag_values=values)
        flags.DEFINE_string("tokenizer", None, "Directory or file of the tokenizer.", flag_values=values)
        flags.DEFINE_list(
            "work",
            list(_LENGTHS),
            "Answers of as many tokens as --shape says, or as those in --data, but not more.",
            flag_values=values,
        )
    elif benchmark == "rewrites":
        flags.DEFINE_list("work", list(_WORK), "Of " + ", ".join(_WORK) + ".", flag_values=values)
    else:
        flags.DEFINE_list("dtype", ["float32"], "Types, of " + ", ".join(_DTYPES) + ".", flag_values=values)
    flags.DEFINE_list("methods", None, "Who takes part; all if not given.", flag_values=values)
    flags.DEFINE_integer("rounds", 10, "Timed calls of each.", lower_bound=1, flag_values=values)
    flags.DEFINE_float(
        "limit", 600, "Seconds that one answer of a contestant may take.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_enum("format", "table", ["table", "json"], "What to print.", flag_values=values)
    if benchmark == "attention":
        flags.DEFINE_list("examples", ["1", "4"], "Numbers of examples that share a row.", flag_values=values)
    elif benchmark in _ACTIVE:
        flags.DEFINE_list(
            "active", _ACTIVE[benchmark].split(","), "Shares of tokens with loss.", flag_values=values
        )
    if benchmark in _MODELS:
        axes = _MODEL_AXES[benchmark]
        flags.DEFINE_string("model", _MODELS[benchmark], f"Sizes {axes} of the model.", flag_values=values)
    if benchmark == "lora":
        flags.DEFINE_integer("rank", 16, "Of the adapters.", lower_bound=1, flag_values=values)
    if benchmark == "train_step":
        flags.DEFINE_string(
            "tunix_python", None, "Interpreter that has tunix, where this one has not.", flag_values=values
        )


def _cases(benchmark: str, values: dict[str, Any]) -> list[Case]:
    shape = _sizes("shape", values["shape"], _AXES[benchmark])
    if benchmark == "rewrites":
        return _rewrite_cases(shape, values)
    if benchmark == "prepare":
        if not values["data"]:
            raise ConfigError("--data names no file; set it to files of conversations, joined by commas")
        data, tokenizers = values["data"], values["tokenizers"]
        return [Case("prepare", shape, "", data=data, tokenizer=each) for each in tokenizers]
    if benchmark in ("likelihood", "generate"):
        return _asking_cases(benchmark, shape, values)
    dtypes = values["dtype"]
    for dtype in dtypes:
        if dtype not in _DTYPES:
            raise ConfigError(f"--dtype={dtype!r} is not one of {', '.join(_DTYPES)}")
    if benchmark == "attention":
        counts = [_examples(text, shape[1]) for text in values["examples"]]
        return [
            Case(benchmark, shape, dtype, examples=count)
            for dtype, count in itertools.product(dtypes, counts)
        ]
    model: tuple[int, ...] = ()
    if benchmark in TRAIN_STEPS:
        model = _sizes("model", values["model"], _MODEL_AXES[benchmark])
        _check_model(Sizes(*model))
        if shape[1] < 2:
            raise ConfigError(
                f"--shape={values['shape']}: a row of one token has no target; set L to 2 or more"
            )
    shares = [_share(text) for text in values["active"]]
    return [
        Case(benchmark, shape, dtype, active=share, model=model, rank=values.get("rank", 0))
        for dtype, share in itertools.product(dtypes, shares)
    ]


def _rewrite_cases(shape: tuple[int, ...], values: dict[str, Any]) -> list[Case]:
    sizes = RewriteSizes(*shape)
    if not 2 <= sizes.side <= sizes.letters:
        raise ConfigError(
            f"--shape={values['shape']}: side {sizes.side} must be from 2, or there are too few rules, to "
            f"the {sizes.letters} letters of a string"
        )
    model = SmallSizes(*_sizes("model", values["model"], _MODEL_AXES["rewrites"]))
    if model.embed % model.heads:
        raise ConfigError(f"--model: embed {model.embed} must be a multiple of heads {model.heads}")
    for work in values["work"]:
        if work not in _WORK:
            raise ConfigError(f"--work={work!r} is not one of {', '.join(_WORK)}")
    return [Case("rewrites", shape, "float32", model=tuple(model), work=work) for work in values["work"]]


def _asking_cases(benchmark: str, shape: tuple[int, ...], values: dict[str, Any]) -> list[Case]:
    model = _sizes("model", values["model"], _MODEL_AXES[benchmark])
    _check_model(Sizes(*model))
    data = "folder of tasks' files" if benchmark == "likelihood" else "files of prompts"
    for flag, what in (("data", data), ("tokenizer", "tokenizer")):
        if not values[flag]:
            raise ConfigError(f"--{flag} names no {what}; set it")
    works = _TASKS if benchmark == "likelihood" else _LENGTHS
    for work in values["work"]:
        if work not in works:
            raise ConfigError(f"--work={work!r} is not one of {', '.join(works)}")
    places = {name: values[name] for name in ("data", "tokenizer")}
    return [Case(benchmark, shape, "float32", model=model, work=work, **places) for work in values["work"]]


def _sizes(flag: str, text: str, axes: str) -> tuple[int, ...]:
    names = axes.split("x")
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text) or text.count("x") + 1 != len(names):
        raise ConfigError(f"--{flag}={text} must be {len(names)} numbers above 0, written {axes}")
    return tuple(int(size) for size in text.split("x"))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(f"--active={text}: a share must be a number above 0 and at most 1")
    return share


def _examples(text: str, length: int) -> int:
    if not re.fullmatch(r"[1-9]\d*", text) or int(text) > length:
        raise ConfigError(f"--examples={text}: must be a number from 1 to the {length} tokens of a row")
    return int(text)


def _check_model(sizes: Sizes) -> None:
    if sizes.embed % (2 * sizes.heads) or sizes.heads % sizes.kv_heads:
        raise ConfigError(
            f"--model: embed {sizes.embed} must be an even multiple of heads {sizes.heads}, and heads a "
            f"multiple of kv_heads {sizes.kv_heads}"
        )


def _executable(flag: str, path: str) -> str:
    if shutil.which(path) is None:
        raise ConfigError(f"--{flag}={path}: no such program; give the python of a virtual environment")
    return os.path.abspath(path) if os.sep in path else path
