"""`data`: which examples are trained on, and how they become rows."""

from dataclasses import dataclass
from typing import Final

from im_jax.config.record import NOT_NEGATIVE, SHARE, Decides, When, at_least, group, setting
from im_jax.config.rewrites import RewritesConfig

TEMPLATES: Final = ("tulu", "chatml", "llama2", "llama3", "alpaca", "plain")
LARGEST_SEED: Final = 2**32 - 1

_FILES: Final = When("data.source", ("jsonl", "tfds"))
_TFDS: Final = When("data.source", ("tfds",))
_RECORDS: Final = When("data.source", ("jsonl",))
_EXAMPLES: Final = When("data.source", ("generated", "jsonl", "tfds"))
_REWRITES: Final = When("data.source", ("rewrites",))
_GENERATED: Final = When("data.source", ("generated",))


@dataclass
class FieldNames:
    """What the fields of a record are called in the data."""

    messages: str = setting("messages", "Name of the list of messages.")
    instruction: str = setting("instruction", "Name of the instruction.")
    input: str = setting("input", "Name of the optional second part of the instruction.")
    output: str = setting("output", "Name of the answer to an instruction.")
    prompt: str = setting("prompt", "Name of the prompt.")
    completion: str = setting("completion", "Name of the answer to a prompt.")
    system: str = setting("system", "Name of the optional system text beside instruction or prompt.")


@dataclass
class SubsetConfig:
    """Part of the examples, chosen by number and by ratio of instruction to output."""

    examples: int = setting(
        0,
        "How many examples are taken, in an order that `data.seed` decides: a larger number holds what a "
        "smaller one takes; 0: all.",
        bounds=at_least(0),
    )
    ratio: float | None = setting(
        None,
        "Take the `data.subset.examples` whose words of instruction to words of output are closest to this.",
        bounds=NOT_NEGATIVE,
        see="data.md#subsets",
    )


@dataclass
class TurnsConfig:
    """What becomes of turns that many conversations have and not everybody wants to train on."""

    empty: str = setting(
        "stop",
        "A turn of user or assistant without text: `stop`, `skip` the record, `drop_turn`, or `keep` it.",
        choices=("stop", "skip", "drop_turn", "keep"),
        see="data.md#turns",
    )
    first_assistant: str = setting(
        "stop",
        "The assistant opens: `stop`, `skip` the record, or `drop_turn`: all before the user's first.",
        choices=("stop", "skip", "drop_turn"),
        see="data.md#turns",
    )
    repeated: str = setting(
        "keep",
        "Several turns of user or assistant in a row: `keep` them, `stop`, `skip` the record, `merge` their "
        "texts, or `drop_turn`: all but the last.",
        choices=("keep", "stop", "skip", "merge", "drop_turn"),
        see="data.md#turns",
    )
    last_user: str = setting(
        "keep",
        "The user speaks last: `keep` it as text of the instruction, `stop`, `skip` the record, or "
        "`drop_turn`: all behind the last answer.",
        choices=("keep", "stop", "skip", "drop_turn"),
        see="data.md#turns",
    )


@dataclass
class DataConfig:
    """Which examples are trained on, and how they become rows."""

    source: str = setting(
        "generated",
        "`generated`: the embedded instruction set; `jsonl`: files (JSON, Parquet); `tfds`: a TFDS data set; "
        "`rewrites`: string rewrites, made as they are read.",
        choices=("generated", "jsonl", "tfds", "rewrites"),
        see="data.md",
    )
    path: str = setting(
        "",
        "`jsonl`: a file, a glob or a folder, or several joined by commas. `tfds`: the TFDS data directory.",
        when=_FILES,
    )
    recipe: str = setting(
        "", "A training set by name; its files are in `path`.", when=_RECORDS, see="recipes.md"
    )
    mixture: str = setting(
        "",
        "Several sources, as `NAME=FILES@AMOUNT; NAME=recipe:RECIPE:FILES@AMOUNT`; AMOUNT is `all`, a "
        "number of examples, or `x0.5`, how often each occurs.",
        when=_RECORDS,
        see="data.md#mixtures",
    )
    wrapping: str = setting(
        "wrapped",
        "User text of recipes that have instruction and input apart: `wrapped` in one of 14 wrappers, or "
        "`plain`, as the template writes it.",
        choices=("wrapped", "plain"),
        when=_RECORDS,
        see="recipes.md#wrappers",
    )
    subset: SubsetConfig = group(SubsetConfig, when=_EXAMPLES)
    deduplicate: str = setting(
        "none",
        "Training examples that go: `none`; `exact`: the same conversation as one before or a held-out one; "
        "`near`: those too whose prompt is nearly the same.",
        choices=("none", "exact", "near"),
        when=_EXAMPLES,
        see="data.md#duplicates",
    )
    name: str = setting("", "Name of the data set, with config and version if wanted.", when=_TFDS)
    split: str = setting("train", "Split of a TFDS data set, or of a folder.", when=_FILES)
    fields: FieldNames = group(FieldNames, when=_FILES)
    turns: TurnsConfig = group(TurnsConfig, when=_FILES)
    num_generated: int = setting(2000, "Number of examples.", bounds=at_least(1), when=_GENERATED)
    rewrites: RewritesConfig = group(RewritesConfig, when=_REWRITES)
    seed: int = setting(
        0,
        "Seed of generated examples and of the choice of held-out ones: equal for runs that are compared.",
        bounds=at_least(0, LARGEST_SEED),
    )
    template: str = setting(
        "tulu",
        "A built-in chat template, or a path to a `tokenizer_config.json` or `.jinja` file.",
        choices=TEMPLATES,
        or_path="a tokenizer_config.json or .jinja file",
        see="data.md#chat-templates",
    )
    date: str = setting(
        "",
        "The day that a template takes it to be, as `2026-02-03` or `2026-02-03T04:05`; empty: that on which "
        "the run starts, which it keeps when it is resumed.",
        see="data.md#chat-templates",
    )
    max_length: int = setting(
        2048, "Tokens per row; longer examples are truncated (by `truncation`).", bounds=at_least(2)
    )
    truncation: str = setting(
        "right",
        "`right`: cut the end; `keep_output`: cut instruction text first; `drop`: leave the example out.",
        choices=("right", "keep_output", "drop"),
    )
    packing: str = setting(
        "best_fit",
        "`best_fit`: several examples in a row; `none`: one example a row.",
        choices=("best_fit", "none"),
    )
    on_bad_example: str = setting(
        "stop",
        "What a malformed record does: `stop` the run, or `skip` it and report the count.",
        choices=("stop", "skip"),
    )
    drop_without_output: bool = setting(
        True, "Leave out examples that have no output token after truncation, alike under every policy."
    )
    max_lost_fraction: float = setting(
        0.1,
        "Stop if more than this share of the examples is dropped, skipped or left without any target.",
        bounds=SHARE,
        decides=Decides.REFUSAL,
    )
    workers: int = setting(
        2,
        "Threads that prepare batches ahead of the training step.",
        bounds=at_least(1, 1024),
        decides=Decides.SPEED,
    )
    encoders: int = setting(
        0,
        "Processes that encode examples; 0: as many as there are cores for this one.",
        bounds=at_least(0, 1024),
        decides=Decides.SPEED,
        when=_FILES,
    )
    cache: str = setting(
        "",
        "Folder in which encoded examples are kept; empty: `im_jax` in the user's cache directory; `none`: "
        "they are encoded at every start.",
        decides=Decides.PLACE,
        when=_FILES,
        see="data.md#the-store",
    )
